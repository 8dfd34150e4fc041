"""What is looked at while rows are scored: ranges, drift, truth."""
