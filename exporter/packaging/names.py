"""Names that the platforms accept, derived from a model's, and references that a user gives."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import Final

from runtime.errors import UsageError

# RFC 1035, for a Service; KServe appends "-predictor" and more to a name of at most 63 characters.
_MAX_NAME: Final = 40
_DIGITS: Final = 6
# The grammar of github.com/distribution/reference: registry, path, tag, digest.
_PART: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST: Final = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(?::[0-9]+)?"
_IMAGE: Final = re.compile(
    rf"(?:{_HOST}/)?{_PART}(?:/{_PART})*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?"
    r"(?:@sha256:[0-9a-f]{64})?"
)
# RFC 1123, for what a user has named: labels of at most 63 characters, between dots.
_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_SUBDOMAIN: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_MAX_SUBDOMAIN: Final = 253
# What KServe fetches a model from (SupportedStorageURIPrefixList, 0.17 and newer).
_STORES: Final = (
    *("s3", "gs", "https", "http", "pvc", "hf", "hdfs", "webhdfs"),
    *("oci", "oci+native", "oci+fetch"),
)


def kubernetes_name(model: str) -> str:
    """Derive a name of lower-case letters, digits and hyphens that begins with a letter.

    One that is too long, or has letters without a counterpart in ASCII, is cut and gets a digest.
    """
    letters = [
        one for one in unicodedata.normalize("NFKD", model) if not unicodedata.combining(one)
    ]
    ascii_text = "".join(one for one in letters if one.isascii()).lower()
    name = re.sub(r"[^a-z0-9]+", "-", ascii_text).strip("-")
    if not name[:1].isalpha():
        name = f"model-{name}".strip("-")
    if len(name) <= _MAX_NAME and not any(one.isalnum() and not one.isascii() for one in letters):
        return name
    digest = hashlib.sha256(model.encode()).hexdigest()[:_DIGITS]
    return f"{name[: _MAX_NAME - _DIGITS - 1].rstrip('-')}-{digest}"


def check_image(image: str) -> str:
    """Return an image's reference; ``UsageError`` if it is none."""
    if not _IMAGE.fullmatch(image):
        raise UsageError(
            f"{image!r} is no image: give REGISTRY/NAME:TAG or REGISTRY/NAME@sha256:DIGEST, "
            "with NAME in lower case"
        )
    return image


def check_claim(claim: str) -> str:
    """Return the name of a PersistentVolumeClaim; ``UsageError`` if it is none."""
    if len(claim) > _MAX_SUBDOMAIN or not _SUBDOMAIN.fullmatch(claim):
        raise UsageError(
            f"--claim {claim!r} is no name of a PersistentVolumeClaim: those have lower-case "
            "letters, digits, hyphens and dots"
        )
    return claim


def check_storage_uri(uri: str | None) -> str:
    """Return the URI from which KServe fetches the bundle; ``UsageError`` if it is none."""
    known = ", ".join(f"{scheme}://" for scheme in _STORES)
    if uri is None:
        raise UsageError(
            "--to kserve needs --storage-uri, where the bundle's files are: s3://BUCKET/PATH, say, "
            f"or oci://IMAGE for an image of --to oci ({known})"
        )
    scheme, separator, rest = uri.partition("://")
    if scheme not in _STORES or not separator or not rest or not re.fullmatch(r"[!-~]+", rest):
        raise UsageError(f"--storage-uri {uri!r} is none that KServe fetches from: {known}")
    if scheme.startswith("oci"):
        check_image(rest)
    return uri
