"""TLS: a certificate and its key, reloaded when their files change."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Final

from runtime.errors import UsageError
from runtime.serving.auth import FileState, file_state
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_POLL_S: Final = 0.5


class Certificate(Value, frozen=True):
    """A certificate's files.

    Attributes:
        chain: PEM file of the certificate and its intermediates.
        key: PEM file of its private key.
    """

    chain: Path
    key: Path

    def load(self, context: ssl.SSLContext) -> None:
        """Load the files for new connections; raises ``UsageError`` and then changes nothing."""
        try:
            self._load(
                ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            )  # a trial, as a mismatch leaves half
            self._load(context)
        except (OSError, ValueError) as exc:
            reason = getattr(exc, "strerror", None) or str(exc)
            raise UsageError(
                f"--tls-cert {self.chain} and --tls-key {self.key} cannot be used: {reason}; "
                "give a certificate in PEM and its key without a password"
            ) from exc

    def _load(self, context: ssl.SSLContext) -> None:
        # An encrypted key would prompt on the terminal: an empty password makes it fail.
        context.load_cert_chain(self.chain, self.key, password=lambda: b"")


class CertificateStore:
    """The certificate in use, for HTTP and gRPC; an invalid change keeps the previous one.

    Attributes:
        context: server context of HTTP for TLS 1.2 and newer.
        pem: private key and chain, for gRPC.
    """

    def __init__(self, certificate: Certificate) -> None:
        """Load the files; raises ``UsageError``."""
        self._certificate = certificate
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_alpn_protocols(["http/1.1"])
        self.reload()

    def reload(self) -> None:
        """Load the files for new connections; raises ``UsageError`` and then changes nothing."""
        self._loaded = self._states()
        self._certificate.load(self.context)
        self.pem = (self._certificate.key.read_bytes(), self._certificate.chain.read_bytes())

    async def watch(self, report: Callable[[str], None]) -> None:
        """Reload when the files have changed, until cancelled.

        ``report`` receives why a change was rejected, or an empty text. Two files are rarely
        replaced at once, so a change is loaded when it has settled.
        """
        before = self._loaded
        while True:
            await asyncio.sleep(_POLL_S)
            states = self._states()
            if states == before and states != self._loaded:
                try:
                    self.reload()
                    report("")
                except UsageError as exc:
                    report(str(exc))
            before = states

    def _states(self) -> tuple[FileState | None, ...]:
        return file_state(self._certificate.chain), file_state(self._certificate.key)
