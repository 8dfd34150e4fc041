"""Score tables: one, many, or one in memory."""
