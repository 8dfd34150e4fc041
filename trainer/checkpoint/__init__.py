"""Checkpoints: the training state, its files, when they are written, and resuming from them."""
