"""What a model reads and predicts: features, classes, ranges."""
