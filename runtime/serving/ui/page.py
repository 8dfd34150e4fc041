"""``GET /``, ``/docs`` and ``/cards``: the self-contained web pages, and the model cards."""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, Final, Literal

from runtime.schema.example import typical_value
from runtime.schema.features import OneHot
from runtime.serving.http.messages import Response
from runtime.value import Value

if TYPE_CHECKING:
    from runtime.bundle.manifest import Manifest
    from runtime.schema.features import Feature
    from runtime.serving.models.served import ServedModel

HTML: Final = b"text/html; charset=utf-8"
# The parts of each page, in this order.
_STYLES: Final = {"page": ("base", "page"), "docs": ("base", "docs")}
_SCRIPTS: Final = {
    "page": (
        *("api", "dom", "values", "regions", "form"),
        *("records", "upload", "table", "throughput", "main"),
    ),
    "docs": ("api", "dom", "types", "operation", "docs"),
}


@cache
def render_page(page: Literal["page", "docs"] = "page") -> Response:
    """Assemble a page and its security headers, once."""
    style = "".join(_read(f"{name}.css") for name in _STYLES[page])
    script = "\n".join(_read(f"{name}.js") for name in _SCRIPTS[page])
    text = _read(f"{page}.html").replace("/* STYLE */", style).replace("/* SCRIPT */", script)
    policy = "; ".join(
        (
            "default-src 'none'",
            f"style-src {_digest(style)}",
            f"script-src {_digest(script)}",
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
    headers = (
        (b"content-security-policy", policy.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"cache-control", b"no-cache"),
    )
    return Response(200, (text.encode(),), HTML, headers)


def _read(name: str) -> str:
    return files("runtime.serving.ui").joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


class ColumnSummary(Value, frozen=True):
    """A column of a model and its training range."""

    name: str
    minimum: float
    maximum: float
    typical: float | str  # median, of dates in days since the origin, or most frequent category
    missing: str  # ``refused``, ``imputed``, or a ``category`` of its own
    texts: tuple[str, ...]  # that mean a missing cell, beside the empty one
    origin: str  # date from which a column of dates counts days, else empty
    format: str  # of the cells of a column of dates, else empty; empty for ISO 8601
    others: bool  # whether categories that training did not have are predicted
    categories: tuple[str, ...]  # empty string for a missing cell; none for numbers, dates


class ModelCard(Value, frozen=True):
    """A model card."""

    name: str  # under which the model is served
    version: str  # digest of the model
    target: str  # the predicted column
    classes: tuple[str, ...]
    features: tuple[ColumnSummary, ...]
    provider: str  # execution provider
    reason: str  # why that one
    facts: dict[str, str]  # further properties, as text


def model_card(model: ServedModel) -> ModelCard:
    """Return the card of a served model."""
    predictor = model.predictor
    schema = predictor.schema
    return ModelCard(
        name=model.name,
        version=model.version,
        target=schema.target,
        classes=schema.classes,
        features=tuple(map(_summarize, schema.features)),
        provider=predictor.provider,
        reason=predictor.session.reason,
        facts=_facts(predictor.manifest),
    )


def _summarize(feature: Feature) -> ColumnSummary:
    missing = "category" if "" in feature.categories else feature.missing
    return ColumnSummary(
        name=feature.name,
        minimum=feature.minimum,
        maximum=feature.maximum,
        typical=typical_value(feature),
        missing=missing,
        texts=feature.texts_of_missing,
        origin=feature.origin,
        format=feature.date_format,
        others=isinstance(feature.one_hot, OneHot) and feature.one_hot.unseen == "other",
        categories=tuple(feature.categories),
    )


def _facts(manifest: Manifest) -> dict[str, str]:
    provenance, requires = manifest.provenance, manifest.requires
    facts = {"exported as": manifest.model.name}
    if manifest.training:
        metrics = (f"{name} {value:.4g}" for name, value in manifest.training.items())
        facts["training metrics"] = ", ".join(metrics)
    if provenance.data_digest:
        facts["training data"] = f"SHA-256 {provenance.data_digest}, seed {provenance.seed}"
    else:
        facts["training data"] = "unknown: the model was trained elsewhere"
    if provenance.versions:
        facts["library versions"] = ", ".join(
            f"{name} {at}" for name, at in provenance.versions.items()
        )
    facts["requires"] = (
        f"onnxruntime {requires.onnxruntime} or newer (opset {requires.opset}, IR {requires.ir})"
    )
    facts["limitations"] = (
        "extrapolates outside the training ranges above; near a decision boundary correct backends "
        "may disagree; fairness between groups was not evaluated"
    )
    return facts
