"""Delimited text: CSV, TSV and the like; records stay the bytes they were."""
