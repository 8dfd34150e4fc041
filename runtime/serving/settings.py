"""How a server is run; light, so that a command line can make it. No errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.serving.limits import Limits
from runtime.value import Value

if TYPE_CHECKING:
    from pathlib import Path

    from runtime.choices import LogLevel, ProviderChoice
    from runtime.serving.access.certificate import Certificate


class Settings(Value, frozen=True):
    """How a server is run.

    Attributes:
        host: interface to listen on.
        port: 0 takes a free one.
        provider: what runs the models.
        limits: what clients may ask for.
        watches: load a bundle when its folder is replaced.
        level: the least that is logged.
        grpc_port: to listen for gRPC on; None for none, 0 takes a free one.
        key_file: with the keys that let requests in; None lets all in.
        certificate: for TLS; None for none.
    """

    host: str
    port: int
    provider: ProviderChoice = "auto"
    limits: Limits = Limits()
    watches: bool = False
    level: LogLevel = "info"
    grpc_port: int | None = None
    key_file: Path | None = None
    certificate: Certificate | None = None
