"""A real server on loopback."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from serving_client import Client, Served

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def start_server(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Served]]:
    """Start ``runtime serve`` on a free port of loopback; what still runs is ended."""
    started: list[Served] = []

    def start(*arguments: object) -> Served:
        words = [sys.executable, "-m", "runtime", "serve", "--port", "0", "--provider", "cpu"]
        process = subprocess.Popen(
            [*words, *map(str, arguments)],
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path_factory.mktemp("server"),
            env=environment,
        )
        assert process.stderr
        line = process.stderr.readline()
        found = re.search(r"https?://[^/ ]*:(\d+)", line)
        if not found:
            pytest.fail(line + process.stderr.read())
        started.append(Served(process, int(found[1]), [line]))
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
    """A server of the bundle kept with the tests."""
    return start_server("--bundle", bundle)


@pytest.fixture
def client(server: Served) -> Iterator[Client]:
    """A fresh connection to it."""
    with server.client() as client:
        yield client
