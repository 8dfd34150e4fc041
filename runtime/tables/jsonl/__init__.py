"""JSON Lines, one JSON object a line; records are written back byte for byte.

Why msgspec alone is not enough: it reports neither duplicate keys nor why a line is bad
(``records``), accepts several records on a line (``lines``), and has no columns (``decoding``).
Nested values become JSON in Arrow (``values``), since in Python that takes 7 to 20 times as long.
"""
