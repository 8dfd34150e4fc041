"""TODO arrow."""
