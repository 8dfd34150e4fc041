"""Faults of a published bundle that was copied, edited or mixed up.

Hashes alone do not detect a fault whose manifest was updated to match, by a script or an attacker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np
import onnx
from onnx import numpy_helper

from faults.fault import Fault, Good
from runtime.bundle.golden import Golden, load_golden, save_golden
from runtime.bundle.manifest import (
    GOLDEN,
    MANIFEST,
    ONNX_MODEL,
    PARITY,
    PROGRAM_MODEL,
    TORCHSCRIPT_MODEL,
    Manifest,
    Model,
    Requirements,
    parse_manifest,
)
from runtime.bundle.reading import digest, model_version

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from runtime.schema.features import Feature, Schema


def _read(folder: Path) -> Manifest:
    return parse_manifest((folder / MANIFEST).read_bytes(), where=MANIFEST)


def _rewrite(folder: Path, change: Callable[[Manifest], Manifest]) -> None:
    (folder / MANIFEST).write_bytes(change(_read(folder)).to_json())


def _fit_manifest(folder: Path) -> None:
    """Let the manifest list whatever lies in the folder."""
    files = {
        file.name: digest(file.read_bytes())
        for file in sorted(folder.iterdir())
        if file.name != MANIFEST
    }
    manifest = _read(folder)
    model = Model(manifest.model.name, model_version(files[ONNX_MODEL]))
    _rewrite(folder, lambda old: msgspec.structs.replace(old, files=files, model=model))


def _flip_byte(name: str, at: float) -> Callable[[Path, Good], None]:
    def change(folder: Path, _: Good) -> None:
        content = bytearray((folder / name).read_bytes())
        content[int(at * len(content))] ^= 0x10
        (folder / name).write_bytes(content)

    return change


def _cut(name: str) -> Callable[[Path, Good], None]:
    def change(folder: Path, _: Good) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return change


def _stale(*names: str, fit: bool) -> Callable[[Path, Good], None]:
    """Files of another run."""

    def change(folder: Path, good: Good) -> None:
        for name in names:
            (folder / name).write_bytes((good.other_bundle / name).read_bytes())
        if fit:
            _fit_manifest(folder)

    return change


def _manifest(change: Callable[[Manifest], Manifest]) -> Callable[[Path, Good], None]:
    return lambda folder, _: _rewrite(folder, change)


def _schema(change: Callable[[Schema], Schema]) -> Callable[[Path, Good], None]:
    return _manifest(
        lambda manifest: msgspec.structs.replace(manifest, schema=change(manifest.schema))
    )


def _other_classes(schema: Schema) -> Schema:
    return msgspec.structs.replace(schema, classes=schema.classes[::-1])


def _other_order(schema: Schema) -> Schema:
    return msgspec.structs.replace(schema, features=schema.features[::-1])


def _wider(schema: Schema) -> Schema:
    features: tuple[Feature, ...] = tuple(
        msgspec.structs.replace(
            feature,
            maximum=10 * feature.maximum,
            quantiles=feature.quantiles and (*feature.quantiles[:-1], 10 * feature.maximum),
        )
        for feature in schema.features
    )
    return msgspec.structs.replace(schema, features=features)


def _golden(change: Callable[[Golden], Golden]) -> Callable[[Path, Good], None]:
    """Change the golden rows, the manifest made to fit."""

    def edit(folder: Path, _: Good) -> None:
        golden = load_golden((folder / GOLDEN).read_bytes(), _read(folder).schema, where=GOLDEN)
        (folder / GOLDEN).write_bytes(save_golden(change(golden)))
        _fit_manifest(folder)

    return edit


def _weights_edited(folder: Path, _: Good) -> None:
    """One weight changed a little, the manifest made to fit."""
    model = onnx.load_from_string((folder / ONNX_MODEL).read_bytes())
    tensor = model.graph.initializer[0]
    values = numpy_helper.to_array(tensor).copy()
    values.flat[0] *= 1.01
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    (folder / ONNX_MODEL).write_bytes(model.SerializeToString())
    _fit_manifest(folder)


def _link(folder: Path, _: Good) -> None:
    (folder / ONNX_MODEL).unlink()
    (folder / ONNX_MODEL).symlink_to("gone")


def _leave_folder(folder: Path, good: Good) -> None:
    content = (good.bundle / ONNX_MODEL).read_bytes()
    (folder.parent / "elsewhere.onnx").write_bytes(content)
    listed = digest(content)
    _rewrite(
        folder,
        lambda old: msgspec.structs.replace(old, files={**old.files, "../elsewhere.onnx": listed}),
    )


def _text(old: bytes, new: bytes) -> Callable[[Path, Good], None]:
    """Change the manifest as a text."""

    def change(folder: Path, _: Good) -> None:
        content = (folder / MANIFEST).read_bytes()
        if old not in content:
            raise ValueError(f"the manifest has no {old!r}")
        (folder / MANIFEST).write_bytes(content.replace(old, new, 1))

    return change


_CHANGES: dict[str, Callable[[Path, Good], None]] = {
    "bundle: a flipped bit in model.onnx": _flip_byte(ONNX_MODEL, 0.5),
    "bundle: a flipped bit in model.torchscript.pt": _flip_byte(TORCHSCRIPT_MODEL, 0.3),
    "bundle: a flipped bit in golden.npz": _flip_byte(GOLDEN, 0.5),
    "bundle: a flipped bit in parity.json": _flip_byte(PARITY, 0.5),
    "bundle: model.onnx cut": _cut(ONNX_MODEL),
    "bundle: golden.npz cut": _cut(GOLDEN),
    "bundle: manifest cut": _cut(MANIFEST),
    "bundle: model.onnx missing": lambda folder, _: (folder / ONNX_MODEL).unlink(),
    "bundle: golden.npz missing": lambda folder, _: (folder / GOLDEN).unlink(),
    "bundle: model.onnx is a dangling link": _link,
    "bundle: the manifest leaves the folder": _leave_folder,
    "bundle: model.onnx of another run": _stale(ONNX_MODEL, fit=False),
    "bundle: model.onnx of another run, made to fit": _stale(ONNX_MODEL, fit=True),
    "bundle: golden.npz of another run, made to fit": _stale(GOLDEN, fit=True),
    "bundle: model.torchscript.pt of another run, made to fit": _stale(TORCHSCRIPT_MODEL, fit=True),
    "bundle: model.pt2 of another run, made to fit": _stale(PROGRAM_MODEL, fit=True),
    "bundle: both models for torch of another run, made to fit": _stale(
        TORCHSCRIPT_MODEL, PROGRAM_MODEL, fit=True
    ),
    "bundle: one weight edited, made to fit": _weights_edited,
    "bundle: golden logits altered, made to fit": _golden(
        lambda golden: msgspec.structs.replace(golden, logits=golden.logits + 1e-3)
    ),
    "bundle: golden labels altered, made to fit": _golden(
        lambda golden: msgspec.structs.replace(golden, label=1 - golden.label)
    ),
    "bundle: golden rows altered, made to fit": _golden(
        lambda golden: msgspec.structs.replace(golden, features=golden.features + np.float32(0.5))
    ),
    "bundle: golden rows without bounds, made to fit": _golden(
        lambda golden: msgspec.structs.replace(
            golden, logits_bound=np.full_like(golden.logits_bound, np.inf)
        )
    ),
    "bundle: class names swapped": _schema(_other_classes),
    "bundle: feature names swapped": _schema(_other_order),
    "bundle: ranges widened": _schema(_wider),
    "bundle: another version": _manifest(
        lambda old: msgspec.structs.replace(old, model=Model(old.model.name, "0" * 12))
    ),
    "bundle: an older engine promised": _manifest(
        lambda old: msgspec.structs.replace(old, requires=Requirements("1.0", opset=9, ir=4))
    ),
    "bundle: of a newer format": _text(b'"format": 1', b'"format": 2'),
    "bundle: an unknown key": _text(b'"format": 1', b'"format": 1, "surprise": true'),
    "bundle: a hash altered": _text(b'"sha256": "', b'"sha256": "0'),
}

FAULTS = tuple(Fault(name, "bundle", bundle=change) for name, change in _CHANGES.items())
