"""Tables as streams of records: read, parse, extend with columns, write.

Carried columns are never parsed and written again: a block of records stays the bytes it was
read as, only the feature cells are parsed, and new columns are appended to each record. That is
exact (quotes, spaces, ``4.0``, ``00123`` stay) and faster than reading and writing every column.
"""
