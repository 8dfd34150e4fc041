"""A served model: its predictor, batcher, statistics and metadata."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from runtime.errors import OnnxferryError
from runtime.serving.models.batcher import Executor, MicroBatcher
from runtime.serving.models.input_validation import InputValidator
from runtime.serving.models.statistics import Durations, Statistics
from runtime.serving.v2.columns import InputColumns

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.predictor import Predictor
    from runtime.scoring.pipeline import ScoredBytes
    from runtime.serving.models.batcher import BatchResult
    from runtime.serving.settings import Limits
    from runtime.serving.v2.tensors import Numbers
    from runtime.session import Outputs

_PLATFORM = "onnxruntime_onnx"  # Triton's name


class ServedModel:
    """One version of a model, ready for inference.

    Attributes:
        name: under which it is served.
        version: digest of the model.
        predictor: the model.
        columns: how its inputs are read from a request.
        statistics: of its requests.
        validator: of its inputs; counts values outside the training ranges.
        batcher: pending requests.
        identity: ``model_name`` and ``model_version`` of a response.
    """

    def __init__(
        self,
        name: str,
        predictor: Predictor,
        limits: Limits,
        previous: ServedModel | None = None,
    ) -> None:
        """Serve a verified predictor; the counters of ``previous`` continue if it is the same."""
        self.name, self.predictor = name, predictor
        self.version = predictor.manifest.model.version
        self.columns = InputColumns(predictor.schema, limits.body_bytes)
        self.statistics, self.validator = Statistics(), InputValidator(predictor.schema)
        if previous and (previous.version, previous.predictor.schema) == (
            self.version,
            predictor.schema,
        ):
            self.statistics, self.validator = previous.statistics, previous.validator
        executor = Executor(predictor, self.validator, self.statistics)
        self.batcher = MicroBatcher(executor, limits.batch_rows)
        self.identity = {"model_name": name, "model_version": self.version}

    def metadata(self) -> dict[str, object]:
        """Return the protocol's model metadata."""
        signature = self.predictor.manifest.signature
        return {
            "name": self.name,
            "versions": [self.version],
            "platform": _PLATFORM,
            "inputs": [_tensor(*one) for one in self.columns.tensors()],
            "outputs": [_tensor(one.name, one.datatype, one.shape) for one in signature.outputs],
        }

    def submit(
        self,
        features: Numbers,
        received_ns: int,
        done: Callable[[Outputs | OnnxferryError], None],
    ) -> None:
        """Queue rows for the next micro-batch and count the request in the statistics."""
        statistics = self.statistics

        def record(result: BatchResult | OnnxferryError) -> None:
            if isinstance(result, OnnxferryError):
                done(result)
                statistics.count_failure(time.perf_counter_ns() - received_ns)
                return
            done(result.outputs)
            statistics.count_success(
                len(features),
                result.started - received_ns,
                result.durations,
                time.perf_counter_ns() - received_ns,
            )

        self.batcher.submit(features, record)

    def count_table(self, scored: ScoredBytes, received_ns: int, started_ns: int) -> None:
        """Count a table that was scored outside the batcher, from ``started_ns`` until now."""
        self.validator.ranges.counts += scored.outside
        total_ns = time.perf_counter_ns() - received_ns
        self.statistics.count_success(scored.scored, 0, Durations(0, total_ns), total_ns)
        if self.batcher.observer is not None:
            rows = (scored.scored, scored.rejected)
            self.batcher.observer.record_table(rows, started_ns, scored.model_s)


def _tensor(name: str, datatype: str, shape: tuple[int, ...]) -> dict[str, object]:
    return {"name": name, "datatype": datatype, "shape": shape}
