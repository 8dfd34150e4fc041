"""How a table is stored: format, compression, encoding."""
