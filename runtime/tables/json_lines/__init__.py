"""JSON Lines: one object a line; records stay the bytes they were."""
