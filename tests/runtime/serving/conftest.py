"""A real server on loopback."""

from __future__ import annotations

import csv
import io
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from sales import TABLE
from serving_client import Client, Served

from runtime.predictor import Predictor
from runtime.scoring.options import Options
from runtime.scoring.pipeline import score_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path


@pytest.fixture(scope="session")
def start_server(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Served]]:
    """Start ``runtime serve`` on a free loopback port; servers still running are stopped.

    ``start(*arguments, variables=…)``: the latter are added to its environment.
    """
    started: list[Served] = []

    def start(*arguments: object, variables: Mapping[str, str] | None = None) -> Served:
        words = [sys.executable, "-m", "runtime", "serve", "--port", "0", "--provider", "cpu"]
        folder = tmp_path_factory.mktemp("server")
        process = subprocess.Popen(
            [*words, *map(str, arguments)],
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
            env={**environment, "TMPDIR": str(folder), **(variables or {})},
        )
        assert process.stderr
        line = process.stderr.readline()
        found = re.search(r"https?://[^/ ]*:(\d+)", line)
        if not found:
            pytest.fail(line + process.stderr.read())
        started.append(Served(process, int(found[1]), [line], folder))
        return started[-1]

    yield start
    for served in started:
        if served.process.poll() is None:
            served.process.kill()
            served.process.wait()
        assert served.process.stderr
        served.process.stderr.close()


@pytest.fixture(scope="session")
def server(start_server: Callable[..., Served], bundle: Path) -> Served:
    """A server of the test data's bundle."""
    return start_server("--bundle", bundle)


@pytest.fixture
def client(server: Served) -> Iterator[Client]:
    """A fresh connection to it."""
    with server.client() as client:
        yield client


@pytest.fixture(scope="session")
def sales_server(start_server: Callable[..., Served], sales_bundle: Path) -> Served:
    """A server of the bundle with categories and missing values."""
    return start_server("--bundle", f"sales={sales_bundle}")


@pytest.fixture(scope="session")
def expected(sales_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """The probabilities that ``runtime predict`` writes for its rows, (4, 2) float32."""
    folder = tmp_path_factory.mktemp("scored")
    (folder / "in.csv").write_bytes(TABLE)
    predictor = Predictor(sales_bundle, provider="cpu")
    score_file(predictor, folder / "in.csv", folder / "out.csv", Options(proba=True))
    rows = list(csv.DictReader(io.StringIO((folder / "out.csv").read_text(encoding="utf-8"))))
    return np.array([[row["probability_no"], row["probability_yes"]] for row in rows], np.float32)
