"""What a fit logs: ``metrics.jsonl`` and a TensorBoard event file.

files             log files that are truncated to a checkpoint's position on resume; metrics.jsonl
events            records of an event file
tensorboard       curves and histograms while the fit runs
plots             the points of PR curves, and the plot of decision regions
diagrams          the confusion matrix and the calibration curve
final_summaries   hparams, PR curves, graph, texts and images, once the fit has ended
collection        both loggers together
progress          the progress bar, or lines on stderr
"""
