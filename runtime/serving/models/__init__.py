"""The models that a server holds: named bundles, proven when loaded, and replaced whole."""
