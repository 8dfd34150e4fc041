"""TLS: a certificate and its key, reloaded on SIGHUP."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from runtime.errors import UsageError
from runtime.value import Value

if TYPE_CHECKING:
    from pathlib import Path


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


def create_ssl_context(certificate: Certificate) -> ssl.SSLContext:
    """Return a server context for TLS 1.2 and newer; raises ``UsageError``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    certificate.load(context)
    return context
