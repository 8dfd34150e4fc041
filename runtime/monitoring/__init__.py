"""Monitoring of scored rows: ranges, drift, accuracy."""
