"""Request handlers: the protocol, administration and the web page."""
