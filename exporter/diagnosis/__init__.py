"""Where in the graph of a model file a failed proof comes from."""
