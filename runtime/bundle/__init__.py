"""TODO bundle."""
