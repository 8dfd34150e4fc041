"""The served models: repository, micro-batching, input validation and statistics."""
