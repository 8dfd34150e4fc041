"""One's own table as data to fit: read by the runtime's table code, checked and split."""
