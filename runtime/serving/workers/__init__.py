"""Several worker processes at one address, each with a session of its own."""
