"""Delimited text; records stay the bytes they were."""
