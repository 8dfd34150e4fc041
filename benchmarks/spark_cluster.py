"""Clusters of Spark on this machine, and what kills parts of them; for tests and benchmarks."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa

    MapBatches = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]

_START_S: Final = 300.0
_CONNECT: Final = "org.apache.spark.sql.connect.SparkConnectPlugin"


@contextmanager
def start_cluster(folder: Path, **settings: str) -> Iterator[dict[str, Any]]:
    """Start two executors, and a session by each way to reach them; files stay in ``folder``."""
    home = _copy_home(folder)
    os.environ.update(
        PYSPARK_PYTHON=sys.executable,
        SPARK_HOME=str(home),
        SPARK_LOCAL_DIRS=str(folder),
        SPARK_LOCAL_IP="127.0.0.1",
    )
    from pyspark.sql import SparkSession
    from pyspark.sql.connect.session import SparkSession as RemoteSession

    port = free_port()
    builder = SparkSession.builder.master("local-cluster[2,1,700]").config(
        map={
            "spark.connect.grpc.binding.address": "127.0.0.1",
            "spark.connect.grpc.binding.port": str(port),
            "spark.driver.host": "127.0.0.1",
            "spark.executor.memory": "512m",
            "spark.log.level": "OFF",
            "spark.plugins": _CONNECT,
            "spark.sql.shuffle.partitions": "2",
            "spark.sql.warehouse.dir": str(folder / "warehouse"),
            "spark.ui.enabled": "false",
            **settings,
        }
    )
    classic = builder.getOrCreate()
    try:
        remote = RemoteSession.builder.remote(f"sc://127.0.0.1:{port}").getOrCreate()
        try:
            yield {"classic": classic, "connect": remote}
        finally:
            remote.stop()
    finally:
        classic.stop()


def _copy_home(folder: Path) -> Path:
    """Link what Spark consists of: its workers write into the folder ``work`` beside it."""
    import pyspark

    home = folder / "spark"
    home.mkdir()
    for path in Path(pyspark.__file__).parent.iterdir():
        (home / path.name).symlink_to(path)
    return home


def free_port() -> int:
    """Find a port that nothing listens at."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


@contextmanager
def start_hosts(folder: Path) -> Iterator[str]:
    """Start a master and workers on two hosts, as speculative attempts need; yields its address."""
    import pyspark

    address = f"spark://127.0.0.1:{free_port()}"
    start = [str(Path(pyspark.__file__).parent / "bin" / "spark-class")]
    deploy, port = "org.apache.spark.deploy", address.rpartition(":")[2]
    master = ["--host", "127.0.0.1", "--port", port, "--webui-port", "0"]
    commands = [("127.0.0.1", [*start, f"{deploy}.master.Master", *master])]
    for host in ("127.0.0.2", "127.0.0.3"):
        worker = ["--host", host, "--cores", "1", "--memory", "700m", "--webui-port", "0"]
        work = ["--work-dir", str(folder / host), address]
        commands.append((host, [*start, f"{deploy}.worker.Worker", *worker, *work]))
    with ExitStack() as running:
        for host, command in commands:
            process = subprocess.Popen(
                command,
                env={**os.environ, "SPARK_LOCAL_IP": host},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            running.enter_context(process)
            running.callback(process.terminate)
            if host == "127.0.0.1":
                _wait_for(int(port), process)
        yield address


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until the master listens: a driver would give up after a minute."""
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.2)
    raise RuntimeError("Spark's master did not start")


def kill_once(marker: Path, partition: int, *, executor: bool) -> MapBatches:
    """Pass batches on; the first attempt at a partition kills its worker or its executor.

    The function is nested, so that Spark pickles it by value.
    """
    path = str(marker)

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import os
        import signal
        from pathlib import Path

        from pyspark import TaskContext

        yield next(batches)
        mark = Path(path)
        if TaskContext.get().partitionId() == partition and not mark.exists():
            mark.touch()
            daemon = Path(f"/proc/{os.getppid()}/stat").read_text(encoding="utf-8")
            parent = int(daemon.rpartition(")")[2].split()[1])
            os.kill(parent if executor else os.getpid(), signal.SIGKILL)
            signal.pause()
        yield from batches

    return run


def wait_once(marker: Path, partition: int, seconds: float) -> MapBatches:
    """Pass batches on; the first attempt at a partition takes long after its first batch."""
    path = str(marker)

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import time
        from pathlib import Path

        from pyspark import TaskContext

        yield next(batches)
        if TaskContext.get().partitionId() == partition:
            with Path(path).open("a", encoding="utf-8") as attempts:
                attempts.write(f"{TaskContext.get().attemptNumber()}\n")
            if TaskContext.get().attemptNumber() == 0:
                time.sleep(seconds)
        yield from batches

    return run
