"""Tables as streams of blocks: read, parse features, add columns, write.

Carried columns are not parsed: new columns are appended to the bytes of each record. That is exact
(quotes, spaces, ``4.0``, ``00123`` are unchanged) and faster than formatting every column.
"""
