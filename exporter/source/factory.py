"""Load the model that the command line selects: a run, or a factory with weights and a schema.

The factory is the user's code and is executed; weights are never unpickled.
"""

from __future__ import annotations

import importlib
import shlex
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import msgspec
import torch

from exporter.source.candidate import candidate_from_module, candidate_from_run
from exporter.source.outputs import OUTPUTS
from exporter.source.weights import load_weights
from runtime.errors import SchemaError, UsageError
from runtime.schema.features import Schema
from runtime.surfaces import option
from runtime.terminal.options import DEFAULT_RUN
from trainer.run import load_run

if TYPE_CHECKING:
    from torch import nn

    from exporter.source.candidate import Candidate
    from exporter.source.outputs import Output
    from runtime.io.paths import Location


@dataclass(frozen=True)
class ModelSource:
    """Where a model comes from: a run's folder, or a factory with weights and a schema."""

    run: Location | None = None
    model: str | None = None  # package.module:factory
    weights: Path | None = None
    schema: Path | None = None
    name: str | None = None  # by default the factory's, or the run's architecture's
    output: str | None = None  # what the module returns, where its graph does not show it
    output_name: str | None = None  # which of several outputs

    def __post_init__(self) -> None:
        given = (self.weights, self.schema, self.output, self.output_name)
        if self.model is None and any(each is not None for each in given):
            names = ", ".join(map(option, ("weights", "schema")))
            raise UsageError(f"{names} and {option('output')} need {option('model')}")
        if self.output not in {None, *OUTPUTS}:
            raise UsageError(
                f"{option('output')} must be one of {', '.join(OUTPUTS)}, got {self.output!r}"
            )
        if self.model is not None and self.run is not None:
            raise UsageError(f"{option('run')} and {option('model')} exclude each other")
        if self.model is not None and not (self.weights and self.schema):
            needed = [option(name, blank="FILE") for name in ("weights", "schema")]
            raise UsageError(f"{option('model')} needs {' and '.join(needed)}")

    @property
    def command(self) -> str:
        """The command that exports it, without the options of the proof."""
        options = {
            "run": self.run,
            "model": self.model,
            "weights": self.weights,
            "schema": self.schema,
            "name": self.name,
            "output": self.output,
            "output-name": self.output_name,
        }
        given = [f" --{name} {shlex.quote(str(value))}" for name, value in options.items() if value]
        return "exporter export" + "".join(given)

    def load(self) -> Candidate:
        """Load the model with its reference."""
        if not (self.model and self.weights and self.schema):
            return candidate_from_run(load_run(self.run or DEFAULT_RUN), self.name)
        module, taken = _make_model(self.model, self.weights)
        name = self.name or self.model.rpartition(":")[2].rpartition(".")[2].lower()
        candidate = candidate_from_module(
            module,
            read_schema(self.schema),
            name=name,
            output=cast("Output | None", self.output),  # checked above
            output_name=self.output_name,
        )
        return replace(candidate, weights=taken)


def make_model(factory: str, weights: Path) -> nn.Module:
    """Call ``package.module:factory`` and load a state dict into the module it returns.

    The working directory is searched first. Raises ``UsageError`` for the factory,
    ``ArtifactError`` for the weights.
    """
    return _make_model(factory, weights)[0]


def _make_model(factory: str, weights: Path) -> tuple[nn.Module, str | None]:
    """Make a model; returns what of the weights was taken, too, where that is not all."""
    model = _call(factory)
    return model, load_weights(model, weights, name=factory)


def read_schema(path: Path) -> Schema:
    """Read a schema from JSON, as ``Schema.to_json`` writes it; ``SchemaError`` otherwise."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Schema)
    except OSError as exc:
        raise SchemaError(f"cannot read {path}: {exc.strerror}; see {option('schema')}") from exc
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise SchemaError(
            f"{path} is not a valid schema: {exc}; an example is "
            '{"target": "label", "features": [{"name": "price", "minimum": 1, "maximum": 10}], '
            '"classes": ["no", "yes"]}'
        ) from exc


def _call(factory: str) -> nn.Module:
    module_name, _, name = factory.partition(":")
    if not module_name or not name:
        raise UsageError(f"{option('model')} must be package.module:factory, got {factory!r}")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        found = importlib.import_module(module_name)
        for part in name.split("."):
            found = getattr(found, part)
        model = found() if callable(found) and not isinstance(found, torch.nn.Module) else found
    except Exception as exc:  # the user's code may raise anything
        raise UsageError(f"cannot make the model {factory}: {type(exc).__name__}: {exc}") from exc
    if not isinstance(model, torch.nn.Module):
        raise UsageError(f"{factory} returns a {type(model).__name__}, not a torch.nn.Module")
    return model
