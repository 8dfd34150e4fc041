"""``runtime predict --engine ray``: tables on the workers of Ray."""

from __future__ import annotations

import pickle
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa
from msgspec.structs import replace

from runtime.engines.ray.cluster import (
    Resources,
    choose_workers,
    connected,
    quiet_context,
    require_ray,
    translate_errors,
)
from runtime.engines.spans import score_table
from runtime.engines.tables import score_tables
from runtime.engines.worker import Worker
from runtime.errors import OnnxferryError, UsageError
from runtime.io.destinations import Part
from runtime.io.paths import is_folder_or_pattern
from runtime.surfaces import option
from runtime.tables.division import scan_window
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runtime.choices import ProviderChoice
    from runtime.engines.job import EngineJob
    from runtime.engines.tables import EngineResult
    from runtime.engines.worker import Job
    from runtime.scoring.batch import OnTable
    from runtime.scoring.pipeline import OnProgress
    from runtime.tables.division import Window, WindowScan

_MAX_TASKS = 4096  # a task scores several tables where there are more


def score_on_ray(
    job: EngineJob, on_table: OnTable | None = None, on_progress: OnProgress | None = None
) -> EngineResult:
    """Score tables on Ray: each of a folder or pattern by one worker, a single one in spans.

    Args:
        job: what to score, and where.
        on_table: called with each complete table of several, its number and their count.
        on_progress: called with the bytes and records of what is complete.

    Returns:
        The summary of all tables.

    Raises:
        OnnxferryError: as ``runtime.scoring.batch.score_files``, or for a single table
            ``runtime.scoring.pipeline.score_file``.
        UsageError: when a single table cannot be divided, or an option does not go with another.
        UnavailableError: when Ray or its cluster is not available, has no room for the workers, or
            a table ends its workers again and again.
    """
    require_ray()
    _check_provider(job.provider, job.cluster.num_gpus)
    threads = job.options.threads or 1
    job = replace(job, options=replace(job.options, threads=threads))
    engine = _Ray(
        job.cluster.address, Resources(job.cluster.workers, job.cluster.num_gpus, threads)
    )
    if is_folder_or_pattern(job.source):
        return score_tables(job, engine, on_table, on_progress)
    return score_table(job, engine, on_progress)


def _check_provider(provider: ProviderChoice, num_gpus: float) -> None:
    if provider == "cuda" and not num_gpus:
        raise UsageError(
            f"{option('provider', 'cuda')} needs GPUs for the workers: give "
            f"{option('num_gpus', 1)}, or 0.5 for two workers a GPU"
        )
    if provider == "cpu" and num_gpus:
        raise UsageError(
            f"{option('num_gpus')} reserves GPUs that {option('provider', 'cpu')} does not use: "
            "leave one of them out"
        )


class _Ray(Value, frozen=True):
    """A cluster as an ``Engine``.

    Attributes:
        address: of the cluster; None starts one.
        resources: of the workers.
    """

    address: str | None
    resources: Resources

    @contextmanager
    def connect(self) -> Iterator[None]:
        """Connect, and refuse more workers than fit."""
        with connected(self.address), translate_errors(), quiet_context():
            choose_workers(self.resources)
            yield

    def scan(self, windows: Sequence[Window]) -> list[WindowScan]:
        """Scan windows of a text in tasks."""
        import ray

        task = ray.remote(num_cpus=1)(scan_window)
        found: list[WindowScan] = ray.get([task.remote(window) for window in windows])
        return found

    def score(self, job: Job, indices: Sequence[int]) -> Iterator[Part]:
        """Score in a pool of actors, the largest first, so that the last ones are short."""
        import ray.data

        sizes = {index: job.size(index) for index in indices}
        ordered = sorted(indices, key=lambda index: -sizes[index])
        dataset = ray.data.from_items(ordered, override_num_blocks=min(len(ordered), _MAX_TASKS))
        workers = choose_workers(self.resources, most=len(indices))
        scored = dataset.map_batches(
            _Actor,
            fn_constructor_args=(job,),
            batch_size=1,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=2),
            udf_modifying_row_count=False,
            **self.resources.of_actors,
        )
        batches = scored.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
        for batch in batches:
            for part, error in zip(batch["part"], batch["error"], strict=True):
                if error.is_valid:
                    raise pickle.loads(error.as_py())  # noqa: S301 - from our own worker
                yield msgspec.msgpack.decode(part.as_py(), type=Part)


class _Actor:
    """An actor of Ray Data. Errors are values: Ray would print their tracebacks."""

    def __init__(self, job: Job) -> None:
        self._worker = Worker(job)

    def __call__(self, batch: pa.Table) -> pa.Table:
        parts: list[bytes | None] = []
        errors: list[bytes | None] = []
        for index in batch["item"].to_pylist():
            try:
                parts.append(msgspec.msgpack.encode(self._worker.score(index)))
                errors.append(None)
            except OnnxferryError as exc:
                parts.append(None)
                errors.append(pickle.dumps(exc))
        columns: dict[str, Any] = {"part": parts, "error": errors}
        return pa.table(columns, pa.schema(dict.fromkeys(columns, pa.binary())))
