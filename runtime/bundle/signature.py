"""The signature of a bundle, ``model.sig``, in the format of OpenSSF model-signing 1.0.

A Sigstore bundle holds a DSSE envelope, whose payload is an in-toto statement with the SHA-256 of
every file. Sources: model_signing_format.md of sigstore/model-transparency, sigstore_bundle.proto,
DSSE v1.0 (protocol.md), in-toto Statement v1.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar

import msgspec

from runtime.errors import ArtifactError
from runtime.printable import list_first, truncate
from runtime.surfaces import advise, either
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runtime.bundle.keys import PrivateKey, PublicKey

_MEDIA_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
_PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
_STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
_PREDICATE_TYPE: Final = "https://model_signing/signature/v1.0"
_SHA256: Final = "sha256"
_SIGN_AGAIN: Final = "sign the bundle again with 'exporter sign'"
_MAX_QUOTED: Final = 120  # characters of what a message quotes
T = TypeVar("T")


# Other keys are ignored, as the format demands.
class _PublicKeyIdentifier(Value, frozen=True):
    hint: str | None = None


class _VerificationMaterial(Value, frozen=True, rename="camel"):
    public_key: _PublicKeyIdentifier | None = None
    tlog_entries: tuple[msgspec.Raw, ...] = ()


class _Signature(Value, frozen=True):
    sig: bytes
    keyid: str = ""


class _Envelope(Value, frozen=True, rename="camel"):
    payload: bytes
    payload_type: str
    signatures: list[_Signature]


class _SigstoreBundle(Value, frozen=True, rename="camel"):
    media_type: str
    verification_material: _VerificationMaterial
    dsse_envelope: _Envelope


class _Subject(Value, frozen=True):
    name: str
    digest: dict[str, str]


class _Resource(Value, frozen=True):
    name: str
    algorithm: str
    digest: str


class _Serialization(Value, frozen=True):
    method: str
    hash_type: str
    allow_symlinks: bool
    ignore_paths: tuple[str, ...] = ()


class _Predicate(Value, frozen=True):
    serialization: _Serialization
    resources: list[_Resource]


class _StatementHead(
    Value, frozen=True, rename={"type": "_type", "predicate_type": "predicateType"}
):
    type: str
    predicate_type: str


class _Statement(_StatementHead, frozen=True):
    subject: list[_Subject]
    predicate: _Predicate


def sign_digests(
    digests: Mapping[str, str], key: PrivateKey, *, name: str, ignored: tuple[str, ...]
) -> bytes:
    """Write the signature of a bundle; the same for the same files, key and names.

    Args:
        digests: hexadecimal SHA-256 of each file, by its path in the bundle.
        key: signs.
        name: of the model.
        ignored: paths that are no part of the bundle.

    Returns:
        Content of ``model.sig``.
    """
    resources = [_Resource(name, _SHA256, digest) for name, digest in sorted(digests.items())]
    statement = _Statement(
        _STATEMENT_TYPE,
        _PREDICATE_TYPE,
        [_Subject(name, {_SHA256: _root_digest(resources)})],
        _Predicate(_Serialization("files", _SHA256, False, ignored), resources),
    )
    payload = msgspec.json.encode(statement)
    signature = key.sign(_pre_authentication_encoding(payload))
    return msgspec.json.encode(
        _SigstoreBundle(
            _MEDIA_TYPE,
            _VerificationMaterial(_PublicKeyIdentifier(key.public().fingerprint)),
            _Envelope(payload, _PAYLOAD_TYPE, [_Signature(signature)]),
        )
    )


def verify_signature(content: bytes, key: PublicKey, *, where: str) -> dict[str, str]:
    """Verify a signature and return what was signed; nothing that is not signed is trusted.

    Args:
        content: of ``model.sig``.
        key: of the signer.
        where: names the file in messages.

    Returns:
        Hexadecimal SHA-256 of each signed file, by its path in the bundle.

    Raises:
        ArtifactError: when it is damaged, of another kind, or not by this key.
    """
    bundle = _read_bundle(content, where)
    envelope, public_key = bundle.dsse_envelope, bundle.verification_material.public_key
    if public_key is None:
        _refuse(where, "was made with a certificate or an identity, not with a key")
    if len(envelope.signatures) != 1:
        _refuse(where, f"has {len(envelope.signatures)} signatures instead of one")
    message = _pre_authentication_encoding(envelope.payload)
    is_other = public_key.hint not in {None, "", key.fingerprint}
    if is_other or not key.verifies(envelope.signatures[0].sig, message):
        what = "was made with another key than" if is_other else "does not match the key"
        give = advise("key", blank="FILE", phrase="give the signer's public key, {}")
        raise ArtifactError(
            f"{where} {what} {key.where}: do not use this bundle; {either('copy it again', give)}"
        )
    return _read_statement(envelope.payload, where)


def stated_digests(content: bytes, *, where: str) -> dict[str, str]:
    """Return what a signature says was signed, by whomever: that is not verified.

    Args and result are those of ``verify_signature``. Raises ``ArtifactError`` when the file is
    damaged or of another kind.
    """
    return _read_statement(_read_bundle(content, where).dsse_envelope.payload, where)


def _read_bundle(content: bytes, where: str) -> _SigstoreBundle:
    bundle = _decode(content, _SigstoreBundle, where)
    found = bundle.media_type, bundle.dsse_envelope.payload_type
    if found != (_MEDIA_TYPE, _PAYLOAD_TYPE):
        what = truncate(f"{found[0]!r} of {found[1]!r}", _MAX_QUOTED)
        _refuse(where, f"is of another kind, {what}")
    return bundle


def _read_statement(payload: bytes, where: str) -> dict[str, str]:
    """Return the digests of a statement."""
    head = _decode(payload, _StatementHead, where)
    if (head.type, head.predicate_type) != (_STATEMENT_TYPE, _PREDICATE_TYPE):
        found = truncate(repr(head.predicate_type), _MAX_QUOTED)
        _refuse(where, f"states {found}, not {_PREDICATE_TYPE!r}")
    statement = _decode(payload, _Statement, where)
    resources, how = statement.predicate.resources, statement.predicate.serialization
    algorithms = {how.hash_type, *(resource.algorithm for resource in resources)}
    if how.method != "files" or algorithms != {_SHA256}:
        used = list_first(sorted(algorithms))
        _refuse(where, f"has digests of {how.method} with {used}, not of files with {_SHA256}")
    digests = {resource.name: resource.digest for resource in resources}
    if len(digests) != len(resources):
        _refuse(where, "lists a file twice")
    try:
        root = _root_digest(resources)
    except ValueError:
        _refuse(where, "lists a digest that is none")
    if [subject.digest.get(_SHA256) for subject in statement.subject] != [root]:
        _refuse(where, "contradicts itself: its digest is not that of the files it lists")
    return digests


def _root_digest(resources: list[_Resource]) -> str:
    return hashlib.sha256(b"".join(bytes.fromhex(one.digest) for one in resources)).hexdigest()


def _pre_authentication_encoding(payload: bytes) -> bytes:
    """Encode what DSSE signs, PAE(type, payload)."""
    return b"DSSEv1 %d %s %d %s" % (
        len(_PAYLOAD_TYPE),
        _PAYLOAD_TYPE.encode(),
        len(payload),
        payload,
    )


def _decode(content: bytes, kind: type[T], where: str) -> T:
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as exc:
        raise ArtifactError(f"{where} is no signature: {exc}; {_SIGN_AGAIN}") from exc


def _refuse(where: str, what: str) -> NoReturn:
    raise ArtifactError(f"{where} {what}; {_SIGN_AGAIN}")
