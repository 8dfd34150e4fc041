"""``GET /cards``: what is known of each served model, for the page and for whoever asks.

In: a served model. Out: a ``Card``. No errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.value import Value

if TYPE_CHECKING:
    from runtime.bundle.manifest import Manifest
    from runtime.schema.features import Feature
    from runtime.serving.models.served import ServedModel


class Column(Value, frozen=True):
    """A column the model reads, and what was seen in training; see ``schema.Feature``.

    Attributes:
        name: of the column.
        minimum: smallest number.
        maximum: largest number.
        missing: what a missing cell means: ``refused``, ``imputed``, or a ``category`` of its own.
        origin: the date since which a column of dates counts days; empty for others.
        categories: texts, an empty one for a missing cell; none for a column of numbers or dates.
    """

    name: str
    minimum: float
    maximum: float
    missing: str
    origin: str
    categories: tuple[str, ...]


class Card(Value, frozen=True):
    """A model, described.

    Attributes:
        name: under which it is served.
        version: digest of the model.
        target: what it answers.
        classes: in the order of its outputs.
        features: in the order of its input.
        provider: what it runs on.
        reason: why on that.
        facts: further things that are known, in words.
    """

    name: str
    version: str
    target: str
    classes: tuple[str, ...]
    features: tuple[Column, ...]
    provider: str
    reason: str
    facts: dict[str, str]


def card_of(model: ServedModel) -> Card:
    """Describe a model.

    Args:
        model: that is served.

    Returns:
        Its card.
    """
    predictor = model.predictor
    schema = predictor.schema
    return Card(
        name=model.name,
        version=model.version,
        target=schema.target,
        classes=schema.classes,
        features=tuple(map(_column, schema.features)),
        provider=predictor.provider,
        reason=predictor.session.reason,
        facts=_facts(predictor.manifest),
    )


def _column(feature: Feature) -> Column:
    missing = "category" if "" in feature.categories else feature.missing
    return Column(
        name=feature.name,
        minimum=feature.minimum,
        maximum=feature.maximum,
        missing=missing,
        origin=feature.origin,
        categories=tuple(feature.categories),
    )


def _facts(manifest: Manifest) -> dict[str, str]:
    provenance, requires = manifest.provenance, manifest.requires
    facts = {"exported as": manifest.model.name}
    if manifest.training:
        measured = (f"{name} {value:.4g}" for name, value in manifest.training.items())
        facts["measured by the trainer"] = ", ".join(measured)
    if provenance.data_digest:
        facts["training data"] = f"SHA-256 {provenance.data_digest}, seed {provenance.seed}"
    else:
        facts["training data"] = "the model was trained elsewhere; nothing is known of its data"
    if provenance.versions:
        facts["made with"] = ", ".join(f"{name} {at}" for name, at in provenance.versions.items())
    facts["needs"] = (
        f"onnxruntime {requires.onnxruntime} or newer (opset {requires.opset}, IR {requires.ir})"
    )
    facts["limits"] = (
        "outside the ranges above the model extrapolates; near a boundary between classes correct "
        "engines may disagree; fairness between groups was not looked at"
    )
    return facts
