"""Training data: tables and synthetic products, their checks, splits and preprocessing."""
