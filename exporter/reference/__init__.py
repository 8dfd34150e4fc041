"""The reference evaluation: exact float64 outputs, and how far a correct backend may be off."""
