"""What the command line exports: a run, or a model of one's own.

In: options as they were typed. Out: a candidate, and the command that takes it up again. Options
that do not fit together are a ``UsageError``.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from exporter.source.candidate import candidate_of_module, candidate_of_run
from exporter.source.factory import make_model, read_schema
from runtime.errors import UsageError
from runtime.terminal.options import DEFAULT_RUN
from trainer.run import load_run

if TYPE_CHECKING:
    from pathlib import Path

    from exporter.source.candidate import Candidate


@dataclass(frozen=True)
class Source:
    """Where a model comes from: a run, or a factory with weights and schema.

    Attributes:
        run: the run's folder.
        model: ``package.module:factory``.
        weights: the state dict for it.
        schema: its columns and classes.
        name: of the model; by default the factory's.
    """

    run: Path | None = None
    model: str | None = None
    weights: Path | None = None
    schema: Path | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        brought = (self.weights, self.schema, self.name)
        if self.model is None and any(option is not None for option in brought):
            raise UsageError("--weights, --schema and --name belong to --model, which is missing")
        if self.model is not None and self.run is not None:
            raise UsageError("--run and --model are two models; give one")
        if self.model is not None and not (self.weights and self.schema):
            raise UsageError("--model needs --weights FILE and --schema FILE")

    @property
    def command(self) -> str:
        """The command that exports it, ready for more options."""
        options = {
            "run": self.run,
            "model": self.model,
            "weights": self.weights,
            "schema": self.schema,
            "name": self.name,
        }
        given = [
            f" --{option} {shlex.quote(str(value))}" for option, value in options.items() if value
        ]
        return "exporter export" + "".join(given)

    def candidate(self) -> Candidate:
        """Load the model.

        Returns:
            The candidate.

        Raises:
            ArtifactError: when the run is damaged or the weights do not fit.
            UsageError: when the factory or the module cannot be used.
            SchemaError: when the schema is none, or does not fit the module.
            ParityError: when a weight is NaN or infinite.
        """
        if not (self.model and self.weights and self.schema):
            return candidate_of_run(load_run(self.run or DEFAULT_RUN))
        module = make_model(self.model, self.weights)
        name = self.name or self.model.rpartition(":")[2].rpartition(".")[2].lower()
        return candidate_of_module(module, read_schema(self.schema), name=name)
