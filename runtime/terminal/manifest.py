"""Format a manifest for ``runtime inspect``."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Final

from runtime.printable import format_number, list_first, printable, truncate
from runtime.schema.dates import format_instant
from runtime.wrapping import wrap_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from runtime.bundle.manifest import Manifest, Provenance, Tensor
    from runtime.bundle.reading import SignatureState
    from runtime.schema.features import Feature


_MAX_CLASSES: Final = 20
_MAX_COLUMNS: Final = 100  # --json has all
_MAX_CATEGORIES: Final = 8  # of a column
_MAX_NAME_WIDTH: Final = 24
_MIN_WIDTH: Final = 20  # of a wrapped cell
SIGNATURES: Final[Mapping[SignatureState, str]] = {
    "none": "",
    "unchecked": "; signed, not checked: give --key FILE",
    "verified": "; signature verified",
}


def format_manifest(
    manifest: Manifest, width: int | None = None, signature: SignatureState = "none"
) -> str:
    """Format a manifest as lines of printable text, wrapped to the width of a terminal."""
    schema, provenance, requires = manifest.schema, manifest.provenance, manifest.requires
    left_out = provenance.left_out_columns or {}
    read = f"{schema.n_features:,} read by the model"
    fields = {
        "model": f"{manifest.model.name}, version {manifest.model.version}, "
        f"bundle format {manifest.format}",
        "target": f"{schema.target}: {list_first(schema.classes, _MAX_CLASSES)}",
        "columns": f"{read}, {len(left_out):,} left out in training" if left_out else read,
    }
    lines = [*_format_fields(fields, width), *_format_columns(manifest, width)]
    fields = {
        "input": ", ".join(map(_describe_tensor, manifest.signature.inputs)),
        "output": ", ".join(map(_describe_tensor, manifest.signature.outputs)),
        "metrics": ", ".join(
            f"{name} {format_number(value)}" for name, value in manifest.training.items()
        ),
        "training": _describe_training(provenance),
        "versions": ", ".join(f"{name} {value}" for name, value in provenance.versions.items()),
        "requires": f"onnxruntime {requires.onnxruntime} or newer "
        f"(opset {requires.opset}, IR {requires.ir})",
        "files": f"sha256 checked{SIGNATURES[signature]}",
    }
    lines += _format_fields(fields, width)
    sizes = ((name, f"{file.size:,} bytes", file) for name, file in sorted(manifest.files.items()))
    lines += _align([(name, f"{size:>15}", f"{file.sha256[:16]}…") for name, size, file in sizes])
    return "\n".join(lines)


def _format_fields(fields: dict[str, str], width: int | None) -> list[str]:
    lines = [f"{name:10} {printable(value)}".rstrip() for name, value in fields.items()]
    return [part for line in lines for part in _wrap(line, width, 11)]


def _wrap(line: str, width: int | None, indent: int) -> list[str]:
    """Wrap a line between words, the rest below its last cell."""
    if not width or len(line) <= width:
        return [line]
    if width - indent < _MIN_WIDTH:
        return wrap_lines(line, width).split("\n")
    head, rest = line[:indent], line[indent:]
    lines = textwrap.wrap(rest, width - indent, break_long_words=False, break_on_hyphens=False)
    return [head + lines[0], *(" " * indent + part for part in lines[1:])]


def _format_columns(manifest: Manifest, width: int | None) -> Iterator[str]:
    """List the features, then the columns that training left out."""
    left_out = manifest.provenance.left_out_columns or {}
    lines: list[tuple[str, str, str]] = [
        (each.name, each.kind, _describe_feature(each)) for each in manifest.schema.features
    ]
    lines += [(name, "left out", reason) for name, reason in left_out.items()]
    yield from _align(lines[:_MAX_COLUMNS], width)
    if more := lines[_MAX_COLUMNS:]:
        yield f"  and {len(more):,} more; --json has all"


def _align(lines: Sequence[tuple[str, str, str]], width: int | None = None) -> list[str]:
    """Format lines of three cells as columns, the last one wrapped."""
    cells = [(printable(truncate(name, _MAX_NAME_WIDTH)), *rest) for name, *rest in lines]
    widths = [max((len(line[at]) for line in cells), default=0) for at in (0, 1)]
    rows = [
        f"  {name:{widths[0]}}  {kind:{widths[1]}}  {printable(note)}" for name, kind, note in cells
    ]
    return [part for row in rows for part in _wrap(row, width, sum(widths) + 6)]


def _describe_feature(feature: Feature) -> str:
    """Describe a column's values in training, and what is made of others."""
    parts = [_describe_values(feature), *_describe_cells(feature)]
    if feature.is_constant:
        parts.append("constant in training")
    elif not feature.shares:
        parts.append("no distribution for --drift")
    return "; ".join(parts)


def _describe_values(feature: Feature) -> str:
    if not feature.categories:
        low, high = feature.minimum, feature.maximum
        return f"{format_value(feature, low)} to {format_value(feature, high)}"
    names = [text or "missing" for text in feature.categories]
    rare = feature.one_hot.rare if feature.one_hot else None
    return list_first(names, _MAX_CATEGORIES) + (f", {rare:,} rare ones joined" if rare else "")


def _describe_cells(feature: Feature) -> Iterator[str]:
    if feature.date_format:
        yield f"written as {feature.date_format}"
    if feature.is_folded:
        yield "case and blanks ignored"
    if texts := feature.texts_of_missing:
        yield f"{' or '.join(map(repr, texts))} is missing"
    if feature.missing == "imputed":
        yield "missing cells are imputed"
    elif not feature.one_hot:
        yield "missing cells are refused"
    elif feature.one_hot.unseen == "error":
        yield "others are refused" if "" in feature.categories else "others and missing are refused"
    else:
        yield "others count as none of these"


def format_value(feature: Feature, value: float) -> str:
    """Format a number, or days since an origin as a date."""
    return format_instant(value, feature.origin) if feature.origin else format_number(value)


def _describe_training(provenance: Provenance) -> str:
    if provenance.seed is None or provenance.data_digest is None:
        return "elsewhere"
    configuration = (f"{name} {value}" for name, value in provenance.configuration.items())
    rejected = provenance.rejected_rows or {}
    rows = (
        f"{count:,} {'row' if count == 1 else 'rows'} left out ({reason})"
        for reason, count in rejected.items()
    )
    data = f"seed {provenance.seed}, data {provenance.data_digest[:12]}…"
    return ", ".join([data, *configuration, *rows])


def _describe_tensor(tensor: Tensor) -> str:
    shape = ", ".join("batch" if size < 0 else str(size) for size in tensor.shape)
    return f"{tensor.name} {tensor.datatype} [{shape}]"
