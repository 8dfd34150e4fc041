"""Take an address to listen on. Raises ``UnavailableError``."""

from __future__ import annotations

import socket

from runtime.errors import UnavailableError


def bind(host: str, port: int, *, shared: bool = False, option: str = "--port") -> socket.socket:
    """Take an address.

    Args:
        host: name or number of an interface of this machine.
        port: 0 takes a free one.
        shared: other processes of this server take it, too: the kernel deals connections out.
        option: that chooses the port, for the message.

    Returns:
        A bound socket.

    Raises:
        UnavailableError: when the address is not to be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(address)
    except OSError as exc:
        raise UnavailableError(
            f"cannot listen on {host}:{port}: {exc.strerror}; choose another with --host, {option}"
        ) from exc
    listener.setblocking(False)
    return listener


def bind_shared(host: str, port: int, count: int, option: str = "--port") -> list[socket.socket]:
    """Take an address several times.

    Args:
        host: as in ``bind``.
        port: 0 takes a free one, the same for all.
        count: how many.
        option: as in ``bind``.

    Returns:
        Bound sockets.

    Raises:
        UnavailableError: when the address is not to be had; also when another server shares it.
    """
    bind(host, port, option=option).close()  # whoever else listens there would get a share
    first = bind(host, port, shared=True, option=option)
    port = first.getsockname()[1]
    return [first, *(bind(host, port, shared=True, option=option) for _ in range(count - 1))]
