"""Typed columns: Parquet, Arrow IPC."""
