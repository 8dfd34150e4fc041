"""Evaluation of a network: loss and accuracy after each epoch, all metrics at the end."""
