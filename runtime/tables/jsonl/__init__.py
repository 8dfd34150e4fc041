"""JSON Lines: one JSON object a line; records that were read are written back byte for byte."""
