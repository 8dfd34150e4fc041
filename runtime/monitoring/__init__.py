"""Monitoring while rows are scored: ranges, drift, accuracy."""
