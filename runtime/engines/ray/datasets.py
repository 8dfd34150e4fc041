"""Score the data sets of Ray: lazily, or into a folder of Parquet files with a summary."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from runtime.engines.ray.cluster import (
    Resources,
    choose_workers,
    quiet_context,
    require_ray,
    translate_errors,
)
from runtime.errors import UsageError
from runtime.scorer.scorer import Scorer

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa
    from ray.data import Dataset

    from runtime.scoring.summary import Summary

_GPU_ROWS: Final = 65_536  # of a batch; Ray wants a number with GPUs
_READING_CPUS: Final = 1


def score(
    dataset: Dataset,
    bundle: Scorer | Path | str,
    *,
    workers: int | None = None,
    num_gpus: float = 0.0,
) -> Dataset:
    """Add predictions to the rows of a data set, lazily, in a pool of actors.

    Rows, columns and values are those of ``Scorer``. Actors that are lost are replaced, and what
    they had not returned is scored again.

    Args:
        dataset: ``(rows, columns)``, with the features by name in any order.
        bundle: its folder, or a ``Scorer`` with options; the workers get it from here.
        workers: number of actors, each with a processor; None for as many as leave one to read.
        num_gpus: GPUs for each actor, such as 0.5.

    Returns:
        The data set with ``label``, ``probability`` and what the options add. Errors of the
        workers are raised where it is consumed; ``runtime.errors.find_error`` finds them.

    Raises:
        UsageError: when ``dataset`` is no data set of Ray, or a number is invalid.
        ArtifactError: when the bundle is missing, damaged or of an unknown format.
        UnavailableError: when Ray is not installed, or the cluster has no room for the workers.
    """
    scorer = _prepare(dataset, bundle)
    import ray.data

    resources = Resources(workers, num_gpus)
    size = choose_workers(resources, spare_cpus=_READING_CPUS)
    return dataset.map_batches(
        _ScoreBatches,
        fn_constructor_args=(scorer,),
        batch_size=_GPU_ROWS if num_gpus else None,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=size),
        udf_modifying_row_count=False,
        **resources.of_actors,
    )


def score_to(
    dataset: Dataset,
    bundle: Scorer | Path | str,
    out: Path | str,
    *,
    workers: int | None = None,
    num_gpus: float = 0.0,
) -> Summary:
    """Score a data set into a folder of Parquet files, which appear when all are whole.

    Rows are scored in the tasks that write them; Ray may read in the same tasks. A task that is
    repeated is published and counted once.

    Args:
        dataset: ``(rows, columns)``, with the features by name in any order.
        bundle: its folder, or a ``Scorer`` with options.
        out: a folder that does not exist or is empty, on a file system that all nodes share.
        workers: tasks at a time, each with a processor; None lets Ray choose.
        num_gpus: GPUs for each task.

    Returns:
        Counts of rows, and monitored statistics.

    Raises:
        UsageError: when ``dataset`` is no data set of Ray, a number is invalid, or the folder holds
            files.
        ArtifactError: when the bundle is missing, damaged or of an unknown format.
        BadRowsError: when rows cannot be scored and ``bad_rows`` is ``fail``.
        UnavailableError: when Ray is not installed, the cluster has no room for the workers, or
            they are lost again and again.
        OnnxferryError: other errors of the workers.
    """
    scorer = _prepare(dataset, bundle)
    from runtime.engines.ray.datasink import AtomicParquet

    started = time.perf_counter()
    resources = Resources(workers, num_gpus)
    choose_workers(resources)
    sink = AtomicParquet(out, scorer)
    arguments: dict[str, Any] = {"num_cpus": 1}
    if num_gpus:
        arguments |= {"num_gpus": num_gpus, "max_calls": 0}  # a process keeps its model
    try:
        with translate_errors(), quiet_context():
            dataset.write_datasink(sink, ray_remote_args=arguments, concurrency=workers)
    except BaseException as exc:
        sink.abort(exc)
        raise
    return scorer.summarize(sink.summaries, seconds=time.perf_counter() - started)


def _prepare(dataset: Dataset, bundle: Scorer | Path | str) -> Scorer:
    require_ray()
    import ray.data

    if not isinstance(dataset, ray.data.Dataset):
        kind = type(dataset)
        raise UsageError(
            f"a {kind.__module__.partition('.')[0]} {kind.__name__} is no data set of Ray: give "
            "one of ray.data, or score others with runtime.Scorer"
        )
    return bundle if isinstance(bundle, Scorer) else Scorer(bundle)


class _ScoreBatches:
    """An actor of Ray Data."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer

    def __call__(self, batch: pa.Table) -> pa.Table:
        return self._scorer(batch)
