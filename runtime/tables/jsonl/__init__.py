"""JSON Lines, one JSON object a line; records are written back byte for byte."""
