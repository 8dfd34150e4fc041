"""Response bodies, for ``/openapi.json``; tests compare them with real responses."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from runtime.serving.v2.messages import Datatype, Parameters

Count = Annotated[int, Meta(ge=0)]
Size = Annotated[int, Meta(ge=-1, description="-1 for the rows")]


class Error(Struct):
    """An error."""

    error: str


class ServerLive(Struct):
    """Liveness."""

    live: bool


class ServerReady(Struct):
    """Readiness, and for each model that is not loaded, or whose last load failed, the reason."""

    ready: bool
    reasons: dict[str, str] | UnsetType = UNSET
    error: str | UnsetType = UNSET


class ServerMetadata(Struct):
    """Name, version and extensions of the server."""

    name: str
    version: str
    extensions: list[str]


class TensorMetadata(Struct):
    """An input or output of a model."""

    name: str
    datatype: Datatype
    shape: list[Size]


class ModelMetadata(Struct):
    """Inputs and outputs of a model."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ModelReady(Struct):
    """Readiness of a model."""

    name: str
    ready: bool


class OutputTensor(Struct):
    """An output tensor; without ``data`` when it is sent as binary data."""

    name: str
    datatype: Datatype
    shape: list[Count]
    parameters: Parameters | UnsetType = UNSET
    data: list[float] | UnsetType = UNSET


class InferenceResponse(Struct):
    """The requested outputs of a model."""

    model_name: str
    model_version: str
    outputs: list[OutputTensor]
    id: str | UnsetType = UNSET


class StatisticDuration(Struct):
    """Number of occurrences, and their total duration in nanoseconds."""

    count: Count
    ns: Count


class InferStatistics(Struct):
    """Durations of the requests to a model, by stage."""

    success: StatisticDuration
    fail: StatisticDuration
    queue: StatisticDuration
    compute_input: StatisticDuration
    compute_infer: StatisticDuration
    compute_output: StatisticDuration
    cache_hit: StatisticDuration
    cache_miss: StatisticDuration


class BatchStatistics(Struct):
    """Durations of the batches of one size."""

    batch_size: Count
    compute_input: StatisticDuration
    compute_infer: StatisticDuration
    compute_output: StatisticDuration


class ModelStatistics(Struct):
    """Statistics of one version of a model since it was loaded."""

    name: str
    version: str
    last_inference: Annotated[int, Meta(ge=0, description="milliseconds since the epoch")]
    inference_count: Count
    execution_count: Count
    inference_stats: InferStatistics
    batch_stats: list[BatchStatistics]


class StatisticsResponse(Struct):
    """Statistics of one model or of all."""

    model_stats: list[ModelStatistics]


class RepositoryModel(Struct):
    """A model in the repository's index."""

    name: str
    version: str
    state: Literal["READY", "UNAVAILABLE"]
    reason: str


class Empty(Struct):
    """An empty object: the operation succeeded."""
