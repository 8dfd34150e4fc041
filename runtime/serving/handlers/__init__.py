"""Request handlers: the protocol, administration and the browser page."""
