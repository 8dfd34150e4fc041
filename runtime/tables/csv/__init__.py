"""TODO csv."""
