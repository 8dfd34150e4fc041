"""Format a manifest for ``runtime inspect``."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from runtime.printable import list_first, printable
from runtime.schema.dates import format_instant

if TYPE_CHECKING:
    from runtime.bundle.manifest import Manifest, Provenance, Tensor
    from runtime.schema.features import Feature


_MAX_SHOWN = 20  # columns and classes; --json has all


def format_manifest(manifest: Manifest, width: int | None = None) -> str:
    """Format a manifest as lines of printable text, wrapped to the width of a terminal."""
    schema, provenance, requires = manifest.schema, manifest.provenance, manifest.requires
    fields = {
        "model": f"{manifest.model.name}, version {manifest.model.version}, "
        f"bundle format {manifest.format}",
        "target": f"{schema.target}: {list_first(schema.classes, _MAX_SHOWN)}",
        "features": list_first([*map(_describe_feature, schema.features)], _MAX_SHOWN),
        "input": ", ".join(map(_describe_tensor, manifest.signature.inputs)),
        "output": ", ".join(map(_describe_tensor, manifest.signature.outputs)),
        "metrics": ", ".join(f"{name} {value:g}" for name, value in manifest.training.items()),
        "training": _describe_training(provenance),
        "versions": ", ".join(f"{name} {value}" for name, value in provenance.versions.items()),
        "requires": f"onnxruntime {requires.onnxruntime} or newer "
        f"(opset {requires.opset}, IR {requires.ir})",
        "files": "sha256 checked",
    }
    lines = [f"{name:10} {printable(value)}" for name, value in fields.items()]
    if width:
        lines = [line for field in lines for line in _wrap(field, width)]
    files = {printable(name): file for name, file in sorted(manifest.files.items())}
    width = max(map(len, files))
    lines += [
        f"  {name:{width}}  {file.size:>9,} bytes  {file.sha256[:16]}…"
        for name, file in files.items()
    ]
    return "\n".join(lines)


def _wrap(line: str, width: int) -> list[str]:
    """Wrap a field between words, below its value."""
    return textwrap.wrap(
        line, width, subsequent_indent=" " * 11, break_long_words=False, break_on_hyphens=False
    )


def _describe_feature(feature: Feature) -> str:
    notes = f", written as {feature.date_format}" if feature.date_format else ""
    notes += ", case and blanks ignored" if feature.is_folded else ""
    if texts := feature.texts_of_missing:
        notes += f", {' or '.join(map(repr, texts))} is missing"
    if not feature.categories:
        missing = (", may be missing" if feature.missing == "imputed" else "") + notes
        ends = (
            f"{format_value(feature, feature.minimum)} to {format_value(feature, feature.maximum)}"
        )
        return f"{feature.name} ({ends}{missing})"
    shown = list_first([text or "missing" for text in feature.categories])
    rare = feature.one_hot.rare if feature.one_hot else None
    joined = f", {rare:,} rare ones joined" if rare else ""
    return f"{feature.name} ({shown}{joined}{notes})"


def format_value(feature: Feature, value: float) -> str:
    """Format a number, or days since an origin as a date."""
    return format_instant(value, feature.origin) if feature.origin else f"{value:g}"


def _describe_training(provenance: Provenance) -> str:
    if provenance.seed is None or provenance.data_digest is None:
        return "elsewhere"
    configuration = (f"{name} {value}" for name, value in provenance.configuration.items())
    rejected = provenance.rejected_rows or {}
    rows = (f"{count:,} rows left out ({reason})" for reason, count in rejected.items())
    left_out = provenance.left_out_columns or {}
    columns = [f"{name} left out ({reason})" for name, reason in left_out.items()]
    data = f"seed {provenance.seed}, data {provenance.data_digest[:12]}…"
    return ", ".join([data, *configuration, *rows, *([list_first(columns)] if columns else [])])


def _describe_tensor(tensor: Tensor) -> str:
    shape = ", ".join("batch" if size < 0 else str(size) for size in tensor.shape)
    return f"{tensor.name} {tensor.datatype} [{shape}]"
