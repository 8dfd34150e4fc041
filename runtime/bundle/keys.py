"""Keys that sign bundles and verify them: ECDSA on P-256, P-384 and P-521, in PEM files.

The hash follows from the curve, as in Sigstore: SHA-256, SHA-384 or SHA-512.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, NoReturn

from runtime.errors import UnavailableError, UsageError
from runtime.surfaces import option

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric import ec

_MAX_BYTES: Final = 64 * 1024  # of a PEM file
_CURVES: Final = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
_KINDS: Final = "ECDSA on P-256, P-384 or P-521"
_MAKE: Final = "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out PRIVATE.pem"
_PUBLIC: Final = "openssl pkey -in PRIVATE.pem -pubout -out PUBLIC.pem"
_OF_CERTIFICATE: Final = "openssl x509 -in CERTIFICATE.pem -pubkey -noout > PUBLIC.pem"


class PublicKey:
    """A key that verifies signatures.

    Attributes:
        where: its file.
        curve: as NIST names it.
        pem: the key alone, as OpenSSL writes it.
        fingerprint: hexadecimal SHA-256 of its PEM.
    """

    def __init__(self, key: ec.EllipticCurvePublicKey, where: Path) -> None:
        """Take a key on one of the three curves."""
        from cryptography.hazmat.primitives import serialization

        self.pem = key.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.where, self.curve = where, _CURVES[key.curve.name]
        self.fingerprint = hashlib.sha256(self.pem).hexdigest()
        self._key = key

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether this key's owner signed the message."""
        from cryptography.exceptions import InvalidSignature

        try:
            self._key.verify(signature, message, _algorithm(self._key))
        except InvalidSignature:
            return False
        return True


class PrivateKey:
    """A key that signs."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, where: Path) -> None:
        """Take a key on one of the three curves."""
        self._key, self._where = key, where

    def public(self) -> PublicKey:
        """Return the key that verifies what this one signs."""
        return PublicKey(self._key.public_key(), self._where)

    def sign(self, message: bytes) -> bytes:
        """Sign a message; the same signature each time (RFC 6979)."""
        from cryptography.exceptions import UnsupportedAlgorithm

        try:
            return self._key.sign(message, _algorithm(self._key, deterministic=True))
        except UnsupportedAlgorithm as exc:
            raise UnavailableError(
                "the OpenSSL of cryptography is older than 3.2 and cannot sign reproducibly: "
                "pip install -U cryptography"
            ) from exc


def load_public_key(path: Path) -> PublicKey:
    """Load a public key.

    Args:
        path: PEM file.

    Returns:
        The key.

    Raises:
        UsageError: when the file has no such key.
        UnavailableError: without the extra ``sign``.
    """
    _require_cryptography()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    content = read_key_file(path, "key")
    if b"PRIVATE KEY-----" in content:
        _refuse(path, f"has a private key: give the public one, {_PUBLIC}")
    if b"BEGIN CERTIFICATE-----" in content:
        _refuse(path, f"has a certificate: give its public key, {_OF_CERTIFICATE}")
    if content.count(b"BEGIN PUBLIC KEY-----") > 1:
        _refuse(path, "has several keys: give a file with one")
    try:
        key = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm) as exc:
        _refuse(path, f"has no public key in PEM: {_PUBLIC}", exc)
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _CURVES:
        _refuse(path, f"has a key of another kind than {_KINDS}, which sign bundles")
    return PublicKey(key, path)


def load_private_key(path: Path, passphrase: bytes | None) -> PrivateKey:
    """Load a private key.

    Args:
        path: PEM file.
        passphrase: of a key that is encrypted; ignored for one that is not.

    Returns:
        The key.

    Raises:
        UsageError: when the file has no such key, or the passphrase is wrong or missing.
        UnavailableError: without the extra ``sign``.
    """
    _require_cryptography()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    content = read_key_file(path, "key")
    encrypted = is_encrypted(content)
    if encrypted and not passphrase:
        _refuse(path, f"is encrypted: give {option('passphrase_file')}")
    try:
        key = load_pem_private_key(content, passphrase if encrypted else None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        if encrypted:
            _refuse(path, "is not opened by this passphrase", exc)
        _refuse(path, f"has no private key in PEM: {_MAKE}", exc)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in _CURVES:
        _refuse(path, f"has a key of another kind than {_KINDS}: {_MAKE}")
    return PrivateKey(key, path)


def is_encrypted(pem: bytes) -> bool:
    """Whether a private key needs a passphrase: in PKCS #8, or as OpenSSL wrote it before."""
    return b"ENCRYPTED PRIVATE KEY-----" in pem or b"Proc-Type: 4,ENCRYPTED" in pem


def read_key_file(path: Path, name: str) -> bytes:
    """Read the small file of an option; ``UsageError`` if it cannot be."""
    try:
        with path.open("rb") as stream:
            content = stream.read(_MAX_BYTES + 1)
    except OSError as exc:
        raise UsageError(f"cannot read {option(name)} {path}: {exc.strerror}") from exc
    if len(content) > _MAX_BYTES:
        raise UsageError(f"{option(name)} {path} is larger than {_MAX_BYTES:,} bytes: no key")
    return content


def _algorithm(
    key: ec.EllipticCurvePublicKey | ec.EllipticCurvePrivateKey, *, deterministic: bool = False
) -> ec.ECDSA:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    by_curve: dict[str, hashes.HashAlgorithm] = {
        "secp256r1": hashes.SHA256(),
        "secp384r1": hashes.SHA384(),
        "secp521r1": hashes.SHA512(),
    }
    return ec.ECDSA(by_curve[key.curve.name], deterministic_signing=deterministic)


def _require_cryptography() -> None:
    try:
        import cryptography  # noqa: F401 - is there or not
    except ImportError as exc:
        raise UnavailableError(
            'signatures need cryptography, which is not installed: pip install "onnxferry[sign]"'
        ) from exc


def _refuse(path: Path, what: str, cause: Exception | None = None) -> NoReturn:
    raise UsageError(f"{option('key')} {path} {what}") from cause
