"""A model that is served: a proven predictor, its batch, its counts, and what it says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np

from runtime.predictor import Predictor
from runtime.serving.models.batching import TickBatch
from runtime.serving.models.calling import Caller
from runtime.serving.models.screening import Screen
from runtime.serving.models.statistics import Durations, Statistics
from runtime.serving.protocol.columns import Columns

if TYPE_CHECKING:
    from pathlib import Path

    from runtime.choices import ProviderChoice
    from runtime.scoring.in_memory import ScoredText
    from runtime.serving.limits import Limits

_PLATFORM = "onnxruntime_onnx"  # as Triton calls it


class ServedModel:
    """One version of a model, ready to answer.

    Attributes:
        name: under which it is served.
        version: digest of the model.
        predictor: the model.
        columns: how they are read out of a request.
        statistics: what it has done.
        screen: looks at rows, and counts values outside training's range.
        batch: rows that wait for the end of the tick.
        identity: ``model_name`` and ``model_version``, as an answer begins.
    """

    def __init__(
        self,
        name: str,
        predictor: Predictor,
        limits: Limits,
        before: ServedModel | None = None,
    ) -> None:
        """Make a model ready.

        Args:
            name: under which it is served.
            predictor: opened, its golden rows within their bounds.
            limits: of the server.
            before: what was served until now; where that is the same version, its counts go on.
        """
        self.name, self.predictor = name, predictor
        self.version = predictor.manifest.model.version
        self.columns = Columns(predictor.schema, limits.body_bytes)
        goes_on = before and (before.version, before.predictor.schema) == (
            self.version,
            predictor.schema,
        )
        self.statistics: Statistics = before.statistics if before and goes_on else Statistics()
        self.screen: Screen = before.screen if before and goes_on else Screen(predictor.schema)
        caller = Caller(predictor, self.screen, self.statistics)
        self.batch = TickBatch(caller, limits.batch_rows)
        self.identity = {"model_name": name, "model_version": self.version}

    @classmethod
    def open(
        cls,
        name: str,
        path: Path,
        provider: ProviderChoice,
        limits: Limits,
        before: ServedModel | None = None,
    ) -> Self:
        """Open a bundle, check its hashes, run its golden rows, and warm it up.

        Args:
            name: under which it is served.
            path: the bundle.
            provider: what runs it.
            limits: of the server.
            before: what was served until now.

        Returns:
            The model.

        Raises:
            OnnxferryError: as ``Predictor.open`` does.
        """
        predictor = Predictor.open(path, provider=provider)
        predictor.run(np.zeros((1, predictor.schema.n_inputs), np.float32))
        return cls(name, predictor, limits, before)

    def metadata(self) -> dict[str, object]:
        """Describe the model as the protocol does."""
        signature = self.predictor.manifest.signature
        return {
            "name": self.name,
            "versions": [self.version],
            "platform": _PLATFORM,
            "inputs": [_tensor(*one) for one in self.columns.tensors()],
            "outputs": [_tensor(one.name, one.datatype, one.shape) for one in signature.outputs],
        }

    def count_table(self, scored: ScoredText, total: int) -> None:
        """Count a table that was scored beside the batches, ``total`` nanoseconds."""
        self.screen.ranges.counts += scored.outside
        self.statistics.count_answer(scored.scored, 0, Durations(0, total), total)


def _tensor(name: str, datatype: str, shape: tuple[int, ...]) -> dict[str, object]:
    return {"name": name, "datatype": datatype, "shape": shape}
