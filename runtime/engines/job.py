"""What an engine is asked to do; imports nothing of an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.value import Value

if TYPE_CHECKING:
    from pathlib import Path

    from runtime.choices import ProviderChoice
    from runtime.io.paths import Location
    from runtime.scoring.options import Options


class ClusterOptions(Value, frozen=True):
    """Where an engine works, and with what.

    Attributes:
        address: of the cluster, ``auto`` for that of this node; None starts one on this machine.
        workers: number of processes; None for as many as there is room for.
        num_gpus: GPUs for each, such as 0.5.
        resume: go on with the complete parts of an interrupted run.
    """

    address: str | None = None
    workers: int | None = None
    num_gpus: float = 0.0
    resume: bool = False


class EngineJob(Value, frozen=True):
    """The tables of a folder or pattern, to be scored into a folder.

    Attributes:
        bundle: its folder.
        source: the folder or pattern, under a path that all workers share.
        out: the folder to write, likewise.
        options: how to score each table; ``threads`` are those of a worker, 1 by default.
        cluster: where.
        provider: of the workers.
        check: whether each worker verifies the golden rows.
        key: PEM file of the public key that must have signed the bundle, which is verified here.
    """

    bundle: Location
    source: Location
    out: Location
    options: Options
    cluster: ClusterOptions = ClusterOptions()
    provider: ProviderChoice = "auto"
    check: bool = True
    key: Path | None = None
