"""Where a model to export comes from: a run, or a factory of the user."""
