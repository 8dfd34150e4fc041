"""The schema of a model: features, classes, distributions."""
