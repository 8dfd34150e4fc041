"""HTTP/1.1 on asyncio (RFC 9112): parser, connections and messages."""
