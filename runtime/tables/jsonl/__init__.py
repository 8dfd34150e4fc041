"""JSON Lines, one JSON object a line; records are written back byte for byte.

What costs the lines: msgspec tells neither doubled keys nor why a line is bad (``records``), takes
several records on a line (``lines``), and knows no column (``decoding``); nested values become JSON
in Arrow (``values``), since in Python that takes 7 to 20 times as long.
"""
