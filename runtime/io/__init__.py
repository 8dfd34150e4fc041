"""Sources and sinks: files, streams, compression, character encodings, atomic output, threads."""
