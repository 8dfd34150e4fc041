"""Golden rows: inputs with the outputs of the float64 reference and their error bounds."""

from __future__ import annotations

import io
import math
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from runtime.errors import ArtifactError, ParityError
from runtime.schema.matrix import usable_values
from runtime.value import Value

if TYPE_CHECKING:
    from runtime.schema.features import Float32Matrix, Schema
    from runtime.session import Outputs, Session


_NPY_VERSION = (1, 0)
_TINY = np.finfo(np.float64).tiny  # avoids a division by zero
_DTYPES: dict[str, type[np.generic]] = {
    "features": np.float32,
    "label": np.int64,
    "probabilities": np.float64,
    "logits": np.float64,
    "probabilities_bound": np.float64,
    "logits_bound": np.float64,
    "decidable": np.bool_,
}


class Golden(Value, frozen=True):
    """Rows with the outputs of the float64 reference and their error bounds.

    Attributes:
        features: ``(rows, n_inputs)`` float32, finite.
        label: ``(rows,)`` int64, of the reference.
        probabilities: ``(rows, classes)`` float64, of the reference.
        logits: ``(rows, classes)`` float64, of the reference.
        probabilities_bound: ``(rows, classes)`` float64, largest error of a correct float32
            evaluation.
        logits_bound: ``(rows, classes)`` float64, likewise.
        decidable: ``(rows,)`` bool; where false, a correct float32 evaluation may predict
            another label.
    """

    features: Float32Matrix
    label: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float64]
    logits: npt.NDArray[np.float64]
    probabilities_bound: npt.NDArray[np.float64]
    logits_bound: npt.NDArray[np.float64]
    decidable: npt.NDArray[np.bool_]


def save_golden(golden: Golden) -> bytes:
    """Serialize golden rows as an uncompressed npz archive, reproducible to the byte."""
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {name: getattr(golden, name) for name in _DTYPES}
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def load_golden(content: bytes, schema: Schema, *, where: str) -> Golden:
    """Parse and validate golden rows."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            golden = Golden(**{name: _read_array(archive, name) for name in _DTYPES})
    except Exception as exc:  # zipfile and numpy raise various errors on hostile bytes
        raise ArtifactError(f"{where} is damaged: {exc}; export the model again") from exc
    _check_arrays(golden, schema, where)
    return golden


class GoldenCheck(Value, frozen=True):
    """Result of running the golden rows; all errors are within their bounds.

    Attributes:
        rows: number of golden rows.
        worst_error_over_bound: largest error of a logit or probability over its bound.
        undecidable: rows for which a correct evaluation may predict another label.
    """

    rows: int
    worst_error_over_bound: float
    undecidable: int


def check_golden(session: Session, golden: Golden, *, where: str) -> GoldenCheck:
    """Run the golden rows and compare the outputs with the reference."""
    outputs = session.run(golden.features)
    worst = 0.0
    for name in ("logits", "probabilities"):
        expected, bound = getattr(golden, name), getattr(golden, f"{name}_bound")
        error = np.abs(getattr(outputs, name) - expected)
        outside = ~(error <= bound)  # NaN is outside
        if outside.any():
            row, column = (int(index) for index in np.argwhere(outside)[0])
            raise ParityError(
                f"{where}: on {session.provider} golden row {row} (stored with its exact "
                f"output; features {golden.features[row].tolist()}) has {name}[{column}] = "
                f"{getattr(outputs, name)[row, column]:.9g}, expected {expected[row, column]:.9g} "
                f"± {bound[row, column]:.3g}; do not serve this bundle here"
            )
        worst = max(worst, float((error / np.maximum(bound, _TINY)).max()))
    _check_labels(session, golden, outputs, where)
    return GoldenCheck(len(golden.label), worst, int((~golden.decidable).sum()))


def _read_array(archive: zipfile.ZipFile, name: str) -> npt.NDArray[Any]:
    """Read one array; its declared size must match its bytes, so none is compressed."""
    entry = archive.getinfo(f"{name}.npy")
    if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
        raise ValueError(f"{entry.filename} is compressed, which the exporter does not do")
    with archive.open(entry) as stream:
        version = np.lib.format.read_magic(stream)
        if version != _NPY_VERSION:
            raise ValueError(f"{entry.filename} is of version {version}")
        shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(stream)
        declared, stored = math.prod(shape) * dtype.itemsize, entry.file_size - stream.tell()
        if declared != stored:
            raise ValueError(f"{entry.filename} declares {declared} bytes and has {stored}")
        array: npt.NDArray[Any] = np.frombuffer(stream.read(), dtype).copy()
    return array.reshape(shape, order="F" if is_fortran else "C")


def _check_labels(session: Session, golden: Golden, outputs: Outputs, where: str) -> None:
    wrong = np.flatnonzero(golden.decidable & (outputs.label != golden.label))
    if wrong.size:
        row = int(wrong[0])
        raise ParityError(
            f"{where}: on {session.provider} golden row {row} (stored with its exact "
            f"output; features {golden.features[row].tolist()}) has label {outputs.label[row]}, "
            f"expected {golden.label[row]}; do not serve this bundle here"
        )


def _check_arrays(golden: Golden, schema: Schema, where: str) -> None:
    rows = golden.label.size
    by_class = (rows, schema.n_classes)
    shapes = {
        "features": (rows, schema.n_inputs),
        "label": (rows,),
        "probabilities": by_class,
        "logits": by_class,
        "probabilities_bound": by_class,
        "logits_bound": by_class,
        "decidable": (rows,),
    }
    for name, dtype in _DTYPES.items():
        array = getattr(golden, name)
        if array.dtype != dtype or array.shape != shapes[name] or rows == 0:
            raise ArtifactError(
                f"{where} is damaged: {name} is {array.dtype} {array.shape}, "
                f"expected {np.dtype(dtype)} {shapes[name]}; export the model again"
            )
        usable = usable_values(schema, array) if name == "features" else np.isfinite(array)
        if not usable.all():  # an infinite bound would accept any output
            raise ArtifactError(f"{where} is damaged: {name} is not finite; export the model again")
