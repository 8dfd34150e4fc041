"""Typed columns: Parquet, Arrow IPC and data frames."""
