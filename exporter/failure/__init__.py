"""Where in a model file a failed proof comes from."""
