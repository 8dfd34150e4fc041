"""What TensorBoard's tabs show of a fit, beside its curves: summaries that are written rarely.

The messages are TensorBoard's own; ``tensorboard`` is imported where one is made, never before
a fit's steps.
"""
