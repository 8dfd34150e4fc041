"""Several processes that serve together: one address, a session each, no queue between them."""
