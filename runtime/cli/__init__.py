"""The command ``runtime``."""
