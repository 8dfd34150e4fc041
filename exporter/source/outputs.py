"""Decide what a module's output is, and turn it into logits.

What the graph does not show is required as ``output``, never guessed: the softmax of probabilities
would be other probabilities, with the same labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import torch

from exporter.formats.program import capture_program
from exporter.formats.scores import Float32, LogitPair, LogProbabilities, Selected, keys_of, select
from exporter.source.endings import (
    EXP,
    LOG_SOFTMAX,
    SIGMOID,
    SOFTMAX,
    editable_graph,
    find_ending,
    graph_before,
    graph_with_logarithm,
)
from runtime.errors import SchemaError, UsageError, first_line
from runtime.printable import printable
from runtime.surfaces import option

if TYPE_CHECKING:
    from torch import nn
    from torch.export import ExportedProgram

    from exporter.source.endings import Ending
    from runtime.schema.features import Float32Matrix, Schema

Output = Literal["logits", "probabilities", "logit", "probability"]
OUTPUTS: tuple[str, ...] = get_args(Output)

_LOGITS = "logits"  # the name under which many libraries return them
_SUM_TOLERANCE = 1e-4  # how far a row of float32 probabilities may be from 1
_PAIR_TOLERANCE = 1e-5  # how far probabilities may be from those of the logit they are made of
_DEPLOYED_LOGITS = 2  # position among the outputs of a deployed module
_MAX_NAMES = 8  # outputs named in a message


@dataclass(frozen=True)
class OutputReader:
    """Which tensor of a module's output is read, and its form."""

    key: str | int | None  # None where the output is a tensor
    among: tuple[str | int, ...]  # the keys of all tensors
    dtype: torch.dtype
    is_single: bool  # one number a row, of two classes, instead of one for each class

    def wrap(self, model: nn.Module) -> nn.Module:
        """Make a module that returns the tensor alone, in float32."""
        model = model if self.key is None else Selected(model, self.key)
        return model if self.dtype == torch.float32 else Float32(model)

    def describe(self) -> list[str]:
        """Describe what is read, unless that is the only tensor as it is."""
        found = []
        if self.key is not None:
            among = f", one of {len(self.among)}" if len(self.among) > 1 else ""
            found.append(f"its output {self.key!r}{among}")
        if self.dtype != torch.float32:
            found.append(f"{self.dtype} rounded to float32")
        return found


@dataclass(frozen=True)
class Scores:
    """A module that returns logits ``(batch, classes)``, and how they follow from its output."""

    model: nn.Module
    description: str | None = None  # None where the logits are its output as it is


def read_output(model: nn.Module, schema: Schema, name: str | None = None) -> OutputReader:
    """Run rows of zeros to see what a module returns; ``name`` selects one of several tensors.

    Raises ``UsageError`` where it cannot run or select, ``SchemaError`` where the output does not
    fit the classes.
    """
    try:
        with torch.inference_mode():
            found = model(torch.zeros(_rows(schema), schema.n_inputs))
    except Exception as exc:  # whatever a module raises
        raise UsageError(
            f"the model cannot compute rows of zeros: {first_line(exc)}; it must accept any "
            f"numbers in rows of {schema.n_inputs} features, including those outside the ranges"
        ) from exc
    if isinstance(found, torch.Tensor):
        if name is not None:
            raise UsageError(f"the model returns one tensor, so there is no output {name!r}")
        key, keys, tensor = None, [], found
    else:
        keys = keys_of(found)
        key = _choose_key(found, keys, name)
        tensor = select(found, key)
    rows = _rows(schema)
    is_single = schema.n_classes == 2 and tuple(tensor.shape) in {(rows,), (rows, 1)}  # noqa: PLR2004 - classes
    fits = is_single or tensor.shape == (rows, schema.n_classes)
    if not fits or not tensor.is_floating_point():
        raise SchemaError(_misfit(tensor, schema, key, keys))
    return OutputReader(key, tuple(keys), tensor.dtype, is_single)


def _choose_key(found: object, keys: list[str | int], name: str | None) -> str | int:
    """Choose the tensor that is named, called ``logits``, the only one, or the first of a tuple."""
    if name is not None:
        named = [key for key in keys if str(key) == name]
        if not named:
            raise UsageError(f"the model has no output {name!r}; it returns {_names(keys)}")
        return named[0]
    if _LOGITS in keys:
        return _LOGITS
    if len(keys) == 1 or (keys and isinstance(found, list | tuple)):
        return keys[0]
    if not keys:
        raise UsageError(
            f"the model returns a {type(found).__name__} without tensors; it must return class "
            "scores, (batch, classes)"
        )
    raise UsageError(
        f"the model returns {_names(keys)}; name the class scores with " + option("output_name")
    )


def _advice() -> str:
    return f"say what they are with {option('output')}"


def _names(keys: list[str | int]) -> str:
    names = ", ".join(printable(str(key)) for key in keys[:_MAX_NAMES])
    return names + (" …" if len(keys) > _MAX_NAMES else "")


def _misfit(
    tensor: torch.Tensor, schema: Schema, key: str | int | None, keys: list[str | int]
) -> str:
    """Describe what a module should have returned."""
    if not tensor.is_floating_point() and tensor.ndim == 1:
        return (
            f"the model returns {tensor.dtype} numbers of classes; return the class scores that "
            "they are taken from (before argmax)"
        )
    others = [each for each in keys if each != key]
    other = f"; it also returns {_names(others)}, see {option('output_name')}" if others else ""
    which = "" if key is None else f" as its output {key!r}"
    rows = _rows(schema)
    return (
        f"for {rows} rows of {schema.n_inputs} features the model returns{which} {tensor.dtype} of "
        f"shape {tuple(tensor.shape)}; the schema has {schema.n_classes} classes, "
        f"so it must be torch.float32 of shape ({rows}, {schema.n_classes}){other}"
    )


def _rows(schema: Schema) -> int:
    """Count the rows to try: not as many as classes, which would hide that both are swapped."""
    return schema.n_classes + 1


def take_logits(
    model: nn.Module,
    program: ExportedProgram,
    reader: OutputReader,
    schema: Schema,
    sample: Float32Matrix,
    output: Output | None = None,
) -> Scores:
    """Make a module that returns logits.

    ``model`` returns the tensor that ``reader`` reads; ``program`` was captured from it, deployed
    where it has a column for each class. ``sample`` are rows inside the ranges, ``output`` is what
    the user says it is. Raises ``UsageError`` where it is not that, or cannot be known.
    """
    _check_form(reader, output)
    source = _Source(model, schema, reader, sample, _run(model, sample))
    ending = find_ending(program.graph, None if reader.is_single else _DEPLOYED_LOGITS)
    if reader.is_single:
        scores = _from_single(source, ending, output)
    else:
        scores = _from_columns(source, ending, output)
    described = [*reader.describe(), *([scores.description] if scores.description else [])]
    return Scores(scores.model, "; ".join(described) or None)


def _check_form(reader: OutputReader, output: Output | None) -> None:
    if output is not None and output not in OUTPUTS:
        raise UsageError(f"{option('output')} must be one of {', '.join(OUTPUTS)}, got {output!r}")
    if output == _LOGITS and reader.is_single:
        raise UsageError(
            f"the model returns one number a row: {option('output')} is logit or probability"
        )
    if output in {"logit", "probability"} and not reader.is_single:
        raise UsageError(
            f"the model returns a column for each class: {option('output')} is logits or "
            f"probabilities, not {output}"
        )


def _run(model: nn.Module, sample: Float32Matrix) -> Float32Matrix:
    """Return a module's output for rows; one column where it is one number a row."""
    with torch.inference_mode():
        try:
            found: Float32Matrix = model(torch.from_numpy(sample).clone()).numpy()
        except Exception:  # noqa: BLE001 - measure_reference reports it, with the row
            return np.empty((0, 1), np.float32)
    return found if found.ndim > 1 else found[:, None]


@dataclass(frozen=True)
class _Source:
    """A module's output before it is turned into logits."""

    model: nn.Module
    schema: Schema
    reader: OutputReader
    sample: Float32Matrix  # (rows, n_inputs), inside the ranges
    values: Float32Matrix  # (rows, columns), its outputs

    @property
    def finite(self) -> Float32Matrix:
        return self.values[np.isfinite(self.values).all(axis=1)]

    def is_within_one(self) -> bool:
        """Whether every output is from 0 to 1."""
        found = self.finite
        return bool(found.size and (found >= 0).all() and (found <= 1).all())

    def are_probabilities(self) -> bool:
        """Whether every row has probabilities: of all classes, or of one."""
        sums = self.finite.astype(np.float64).sum(axis=1)
        is_whole = self.reader.is_single or bool((np.abs(sums - 1) <= _SUM_TOLERANCE).all())
        return self.is_within_one() and is_whole

    def are_logarithms(self, sign: int) -> bool:
        """Whether ``exp(sign * output)`` are probabilities of all classes, in every row."""
        found = sign * self.finite.astype(np.float64)
        if not found.size or (found > _SUM_TOLERANCE).any():
            return False
        return bool((np.abs(np.exp(found).sum(axis=1) - 1) <= _SUM_TOLERANCE).all())


def _from_single(source: _Source, ending: Ending, output: Output | None) -> Scores:
    """Make two logits of one number a row."""
    if output == "logit":
        return Scores(LogitPair(source.model), "one logit a row, of the second class, as given")
    if output is None and not ending.ends_in(SIGMOID):
        if source.is_within_one():
            raise UsageError(
                "the model's outputs are numbers from 0 to 1, but its graph does not end in a "
                f"sigmoid: {_advice()}, logit or probability"
            )
        return Scores(LogitPair(source.model), "one logit a row, of the second class")
    _require_probabilities(source)
    graph = editable_graph(capture_program(source.model, source.schema))
    found = find_ending(graph.graph)
    if found.direct is not None and found.ends_in(SIGMOID):
        description = "one probability a row, of the second class: its logit is taken"
        return Scores(LogitPair(graph_before(graph, found.direct)), description)
    return Scores(
        LogProbabilities(source.model),
        "one probability a row, of the second class: logits are logarithms",
    )


def _from_columns(source: _Source, ending: Ending, output: Output | None) -> Scores:
    """Make logits of a column for each class."""
    if output == _LOGITS:
        plain = not ending.operations
        return Scores(source.model, None if plain else "taken as logits, as requested")
    if output is None and not _are_known_probabilities(source, ending):
        if source.are_logarithms(-1):
            raise UsageError(
                "the model's outputs are negative log-probabilities (from 0 up, and exp(-x) of "
                "each row sums to 1), so the largest is the least probable class: return them "
                f"without the minus sign, or {_advice()}, logits"
            )
        is_log = ending.ends_in(LOG_SOFTMAX) or source.are_logarithms(1)
        return Scores(source.model, "log-probabilities, taken as logits" if is_log else None)
    _require_probabilities(source)
    description = "probabilities: logits are their logarithms"
    graph = editable_graph(capture_program(source.model, source.schema))
    found = find_ending(graph.graph)
    if found.direct is not None and found.ends_in(SOFTMAX, EXP):
        return Scores(graph_with_logarithm(graph, found.direct), description)
    if found.single is not None and found.combines(SIGMOID) and source.schema.n_classes == 2:  # noqa: PLR2004 - complements
        logit = graph_before(graph, found.single)
        pair = _pair_of_logit(logit, source)
        if pair is not None:
            return Scores(pair, "probabilities of two classes from one sigmoid: its logit is taken")
    return Scores(LogProbabilities(source.model), description)


def _are_known_probabilities(source: _Source, ending: Ending) -> bool:
    """Return whether outputs are probabilities; ``UsageError`` where they may be."""
    made = ending.combines(SOFTMAX, SIGMOID, EXP)
    if source.are_probabilities():
        if made:
            return True
        raise UsageError(
            "the model's outputs look like probabilities (from 0 to 1, the sum of each row is 1), "
            f"but its graph does not end in a softmax or sigmoid: {_advice()}, probabilities or "
            "logits"
        )
    if made and source.values.size:
        what = "a sigmoid for each class" if ending.ends_in(SIGMOID) else "softmax or sigmoid"
        raise UsageError(
            f"the model ends in {what}, but its rows do not sum to 1: return the scores before it, "
            f"or {_advice()}, logits"
        )
    return False


def _require_probabilities(source: _Source) -> None:
    """Refuse outputs that are declared probabilities and are not."""
    if source.are_probabilities() or not source.finite.size:
        return
    found = source.finite.astype(np.float64)
    is_wrong = ((found < 0) | (found > 1)).any(axis=1)
    if not source.reader.is_single:
        is_wrong |= np.abs(found.sum(axis=1) - 1) > _SUM_TOLERANCE
    shown = ", ".join(f"{value:.6g}" for value in found[np.flatnonzero(is_wrong)[0]][:_MAX_NAMES])
    whole = "" if source.reader.is_single else ", the sum of each row 1"
    raise UsageError(
        f"the model's outputs are no probabilities: a row inside the ranges has [{shown}]; they "
        f"must be from 0 to 1{whole}"
    )


def _pair_of_logit(logit: nn.Module, source: _Source) -> nn.Module | None:
    """Make two logits of the logit of one class, if their softmax is the module's output."""
    for of_first in (False, True):
        pair = LogitPair(logit, of_first=of_first)
        rows = _run(pair, source.sample)
        if rows.shape == source.values.shape:
            got = torch.softmax(torch.from_numpy(rows), dim=1).numpy()
            if np.allclose(got, source.values, rtol=0, atol=_PAIR_TOLERANCE, equal_nan=True):
                return pair
    return None
