"""Score tables: a file, a batch of files, a data frame, text in memory."""
