"""What a fit logs: ``metrics.jsonl`` and a TensorBoard event file.

files             log files that are truncated to a checkpoint's position on resume
jsonl             one JSON object per epoch
tensorboard       curves and histograms while the fit runs
final_summaries   hparams, PR curves, graph, texts and the plot, once the fit has ended
summaries         TensorBoard's messages
events            records of an event file; those of scalars in bulk
plots             what the PR curves and the decision-region plot show
collection        both loggers together
progress          the progress bar, or lines on stderr
"""
