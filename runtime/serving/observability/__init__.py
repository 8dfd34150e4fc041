"""Log, metrics and request ids."""
