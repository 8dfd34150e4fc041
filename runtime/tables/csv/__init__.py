"""Delimited text (RFC 4180); records are carried as bytes."""
