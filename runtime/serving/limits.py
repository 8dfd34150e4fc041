"""What a server allows, so that no client can take its memory or its time.

Every bound is checked before anything of that size is allocated. No errors here.
"""

from __future__ import annotations

from runtime.value import Value

KIB = 1024
MIB = 1024 * KIB


class Limits(Value, frozen=True):
    """The bounds of a server; the defaults suit a small machine.

    Attributes:
        connections: open at once; one more is answered 503 and closed.
        in_flight: requests being answered at once, or read in one turn of the event loop; one more
            is answered 503. So an answer waits for no more than so many others, whatever they
            hold, and 64 clients that wait for each answer are never turned away, nor is an
            operator beside them (benchmarks/overload.py). What a client pipelines goes together.
        pipelined: requests of one connection being answered at once; what was not yet read
            waits in its socket.
        header_bytes: of one request's line and header fields; beyond, 431.
        header_fields: of one request; beyond, 431.
        body_bytes: of one request; beyond, 413.
        buffered_bytes: of all bodies held at once; beyond, 503.
        rows: of one request; beyond, 413.
        batch_rows: of requests that are joined for one call of the model; with more, requests and
            answers fall out of the processor's caches, which costs more than another call.
        header_s: seconds to send a request's line and header; beyond, 408.
        body_s: seconds to send a body; beyond, 408.
        idle_s: seconds a connection may stay open without a request.
        write_s: seconds a client may let its answer wait unread.
        drain_s: seconds that a server which was told to end waits for its answers.
    """

    connections: int = 1024
    in_flight: int = 68
    pipelined: int = 64
    header_bytes: int = 16 * KIB
    header_fields: int = 100
    body_bytes: int = 16 * MIB
    buffered_bytes: int = 256 * MIB
    rows: int = 262_144
    batch_rows: int = 2048
    header_s: float = 10.0
    body_s: float = 30.0
    idle_s: float = 75.0
    write_s: float = 30.0
    drain_s: float = 30.0


DEFAULT_LIMITS = Limits()
