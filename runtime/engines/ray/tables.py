"""``runtime predict --engine ray``: the tables of a folder on the workers of Ray."""

from __future__ import annotations

import pickle
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
from runtime.engines.tables import TablesWorker, score_tables
from runtime.errors import OnnxferryError, UsageError
from runtime.io.destinations import Part
from runtime.io.paths import is_folder_or_pattern
from runtime.surfaces import option

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runtime.choices import ProviderChoice
    from runtime.engines.job import EngineJob
    from runtime.engines.tables import TablesJob, TablesResult
    from runtime.io.paths import Location
    from runtime.scoring.batch import OnTable
    from runtime.scoring.pipeline import OnProgress

_MAX_TASKS = 4096  # a task scores several tables where there are more


def score_folder(
    job: EngineJob, on_table: OnTable | None = None, on_progress: OnProgress | None = None
) -> TablesResult:
    """Score the tables of a folder or pattern on Ray, each by one worker.

    Args:
        job: what to score, and where.
        on_table: called with each complete table, its number and their count.
        on_progress: called with the bytes and records of the complete tables.

    Returns:
        The summary of all tables.

    Raises:
        OnnxferryError: as ``runtime.scoring.batch.score_files``.
        UsageError: when the source is a single table, or an option does not go with another.
        UnavailableError: when Ray or its cluster is not available, has no room for the workers, or
            loses a worker again and again.
    """
    require_ray()
    _check_source(job.source)
    _check_provider(job.provider, job.cluster.num_gpus)
    threads = job.options.threads or 1
    job = replace(job, options=replace(job.options, threads=threads))
    resources = Resources(job.cluster.workers, job.cluster.num_gpus, threads)

    def run(tables: TablesJob, indices: Sequence[int]) -> Iterator[Part]:
        with connected(job.cluster.address), translate_errors(), quiet_context():
            workers = choose_workers(resources, most=len(indices))
            yield from _run(tables, indices, workers, resources)

    return score_tables(job, run, on_table, on_progress)


def _check_source(source: Location) -> None:
    if not is_folder_or_pattern(source):
        raise UsageError(
            f"{source} is one table, which one worker would score: leave {option('engine')} out, "
            "or give a folder or pattern of tables, which are divided among the workers"
        )


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


def _run(
    job: TablesJob, indices: Sequence[int], workers: int, resources: Resources
) -> Iterator[Part]:
    """Score tables, the largest first, so that the last ones are short."""
    import ray.data

    sizes = {index: (job.plan.root / job.names[index]).stat().st_size for index in indices}
    ordered = sorted(indices, key=lambda index: -sizes[index])
    dataset = ray.data.from_items(ordered, override_num_blocks=min(len(ordered), _MAX_TASKS))
    scored = dataset.map_batches(
        _Worker,
        fn_constructor_args=(job,),
        batch_size=1,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=2),
        udf_modifying_row_count=False,
        **resources.of_actors,
    )
    for batch in scored.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
        for part, error in zip(batch["part"], batch["error"], strict=True):
            if error.is_valid:
                raise pickle.loads(error.as_py())  # noqa: S301 - from our own worker
            yield msgspec.msgpack.decode(part.as_py(), type=Part)


class _Worker:
    """An actor of Ray Data. Errors are values: Ray would print their tracebacks."""

    def __init__(self, job: TablesJob) -> None:
        self._worker = TablesWorker(job)

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
