"""The rows of a proof: how many, which, and where the classes meet."""
