"""Signatures made with ``cryptography`` alone, by the letter of the format, for the tests."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip(
    "cryptography", reason='signatures need the extra: pip install -c constraints.txt -e ".[sign]"'
)

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

if TYPE_CHECKING:
    from pathlib import Path

SIGNATURE = "model.sig"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
_HASHES = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}
Json = dict[str, Any]


class Signer:
    """A key pair in a folder: ``private`` and ``public`` are the files."""

    def __init__(self, folder: Path, curve: ec.EllipticCurve | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.key = ec.generate_private_key(curve or ec.SECP256R1())
        self.private, self.public = folder / "private.pem", folder / "public.pem"
        self.write_private(serialization.NoEncryption())
        self._pem = self.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.public.write_bytes(self._pem)

    def write_private(self, encryption: serialization.KeySerializationEncryption) -> None:
        """Write the private key, encrypted or not."""
        self.private.write_bytes(
            self.key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
            )
        )

    def sign(self, bundle: Path, **changes: object) -> None:
        """Sign every file of a folder; ``changes`` replace keys of the predicate's parts."""
        (bundle / SIGNATURE).unlink(missing_ok=True)
        self.seal(bundle, statement(bundle, **changes))

    def seal(self, bundle: Path, payload: Json | bytes) -> Json:
        """Write a signature of any payload."""
        if not isinstance(payload, bytes):
            payload = json.dumps(payload).encode()
        message = b"DSSEv1 %d %s " % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode())
        message += b"%d %s" % (len(payload), payload)
        signature = self.key.sign(message, ec.ECDSA(_HASHES[self.key.curve.key_size]))
        envelope = {
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {
                "publicKey": {"hint": hashlib.sha256(self._pem).hexdigest()},
                "tlogEntries": [],
            },
            "dsseEnvelope": {
                "payload": base64.b64encode(payload).decode(),
                "payloadType": PAYLOAD_TYPE,
                "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
            },
        }
        (bundle / SIGNATURE).write_text(json.dumps(envelope))
        return envelope


def statement(bundle: Path, /, **changes: object) -> Json:
    """State the files of a folder; ``changes`` replace top keys, or those of the predicate."""
    resources = [
        {
            "name": path.relative_to(bundle).as_posix(),
            "algorithm": "sha256",
            "digest": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in sorted(bundle.rglob("*"))
        if path.is_file() and path.name != SIGNATURE
    ]
    return state(resources, **changes)


def state(resources: list[Json], /, **changes: object) -> Json:
    """State any resources, with their digest."""
    root = hashlib.sha256(b"".join(bytes.fromhex(one["digest"]) for one in resources)).hexdigest()
    serialization_ = {"method": "files", "hash_type": "sha256", "allow_symlinks": False}
    made: Json = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "bundle", "digest": {"sha256": root}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {"serialization": serialization_, "resources": resources},
    }
    for name, value in changes.items():
        if name in serialization_:
            serialization_[name] = value
        elif name in made["predicate"]:
            made["predicate"][name] = value
        else:
            made[name] = value
    return made
