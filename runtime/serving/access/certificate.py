"""TLS: a certificate and its key, read anew on SIGHUP. Raises ``UsageError``."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from runtime.errors import UsageError
from runtime.value import Value

if TYPE_CHECKING:
    from pathlib import Path


class Certificate(Value, frozen=True):
    """Where a certificate lies.

    Attributes:
        chain: PEM file of the certificate, with those between it and its root.
        key: PEM file of its private key.
    """

    chain: Path
    key: Path

    def load(self, context: ssl.SSLContext) -> None:
        """Read the files; connections made from now on see them.

        Args:
            context: that connections are made with.

        Raises:
            UsageError: when they cannot be read or don't belong together.
        """
        try:
            self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))  # half a pair would spoil the other
            self._load(context)
        except (OSError, ValueError) as exc:
            reason = getattr(exc, "strerror", None) or str(exc)
            raise UsageError(
                f"--tls-cert {self.chain} and --tls-key {self.key} cannot be used: {reason}; "
                "give a certificate in PEM and its key without a password"
            ) from exc

    def _load(self, context: ssl.SSLContext) -> None:
        # A key that wants a password would ask on the terminal: an empty one makes it fail.
        context.load_cert_chain(self.chain, self.key, password=lambda: b"")


def new_context(certificate: Certificate) -> ssl.SSLContext:
    """Make what connections are made with: TLS 1.2 and newer.

    Args:
        certificate: to be shown.

    Returns:
        A context.

    Raises:
        UsageError: when the certificate cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    certificate.load(context)
    return context
