"""HTTP/1.1 on a socket (RFC 9112): requests in, answers out, in the order they were asked for."""
