"""Bundles below a prefix of an object store: new, half-written, removed; the store is away."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

import pytest
from cutting_proxy import cutting_proxy

from runtime.errors import StoreError
from runtime.io.paths import parse_location
from runtime.serving.models import watching
from runtime.serving.models.repository import Repository
from runtime.serving.models.watching import FolderWatcher
from runtime.serving.settings import Limits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from s3_server import ObjectStore

    from runtime.serving.models.repository import ModelSlot

pytestmark = pytest.mark.object_store
PATIENCE_S = 30


class _Watched:
    """A repository that is watched, with what it reports.

    Attributes:
        reports: for each load, the name and why it failed.
        watch: why the store does not tell, empty texts when it does again.
    """

    def __init__(self, prefix: str) -> None:
        self.reports: list[tuple[str, str]] = []
        self.watch: list[str] = []
        self.repository = Repository(
            {}, "cpu", Limits(), self._report, folder=parse_location(prefix)
        )
        self.repository.open_new()

    def _report(self, name: str, slot: ModelSlot) -> None:
        self.reports.append((name, slot.reason))

    def version(self, name: str) -> str | None:
        slot = self.repository.slots.get(name)
        return slot.model.version if slot and slot.model else None

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        task = asyncio.create_task(FolderWatcher(self.repository, self.watch.append).run())
        try:
            yield
        finally:
            task.cancel()

    async def until(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end, (self.reports, self.watch)
            await asyncio.sleep(0.02)


def _copy(client: Any, folder: Path, prefix: str, *, without: str = "") -> None:  # noqa: ANN401 - an S3Store
    for path in folder.iterdir():
        if path.name != without:
            client.put(f"{prefix}/{path.name}", path.read_bytes())


def test_changes_are_served_whole_and_an_absent_store_changes_nothing(
    bucket: str,
    object_store: ObjectStore,
    bundle: Path,
    make_bundle: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The old version is served until the new one is whole, and while the store is away."""
    monkeypatch.setattr(watching, "poll_interval", lambda _: 0.1)
    client, new = object_store.client(bucket.removeprefix("s3://")), make_bundle(name="new")
    _copy(client, bundle, "models/a")

    async def check(proxy: Any) -> None:  # noqa: ANN401 - see cutting_proxy
        watched = _Watched(f"{bucket}/models")
        old = watched.version("a")
        async with watched.watched():
            _copy(client, bundle, "models/b", without="golden.npz")
            await watched.until(lambda: ("b", "golden") in watched_names(watched))
            assert watched.repository.is_ready
            _copy(client, new, "models/b")
            await watched.until(lambda: bool(watched.version("b")))
            _copy(client, new, "models/a", without="manifest.json")
            await watched.until(lambda: watched.reports[-1][0] == "a")
            assert (watched.version("a"), watched.watch) == (old, [])
            proxy.down = proxy.up = 0
            await watched.until(lambda: len(watched.watch) == 1)
            assert "no connection to 127.0.0.1" in watched.watch[0]
            client.put("models/a/manifest.json", (new / "manifest.json").read_bytes())
            assert watched.version("a") == old
            proxy.down = proxy.up = None
            await watched.until(lambda: watched.version("a") == watched.version("b"))
            await watched.until(lambda: watched.watch[1:] == [""])
            client.delete("models/b/manifest.json")
            await watched.until(lambda: "is not a bundle" in watched.reports[-1][1])
            assert watched.version("b")

    def watched_names(watched: _Watched) -> set[tuple[str, str]]:
        return {(name, "golden" if "golden.npz" in why else "") for name, why in watched.reports}

    with cutting_proxy(object_store.endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        asyncio.run(check(proxy))


def test_a_load_that_the_store_interrupts_is_repeated(
    bucket: str,
    object_store: ObjectStore,
    bundle: Path,
    make_bundle: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without another change: the listing told of the new version, its files did not come."""
    monkeypatch.setattr(watching, "poll_interval", lambda _: 0.1)
    client, opened = object_store.client(bucket.removeprefix("s3://")), Repository._open  # noqa: SLF001 - to make it fail
    _copy(client, bundle, "models/a")
    is_away = True

    def open_or_fail(self: Repository, *args: Any) -> Any:  # noqa: ANN401 - of any
        if is_away:
            raise StoreError("cannot read it: the connection was lost")
        return opened(self, *args)

    async def check() -> None:
        nonlocal is_away
        watched = _Watched(f"{bucket}/models")
        old = watched.version("a")
        async with watched.watched():
            await asyncio.sleep(0.3)  # its state is known
            monkeypatch.setattr(Repository, "_open", open_or_fail)
            _copy(client, make_bundle(name="new"), "models/a")
            tried = len(watched.reports)
            await watched.until(lambda: len(watched.reports) > tried + 1)
            assert watched.version("a") == old
            is_away = False
            await watched.until(lambda: watched.version("a") != old)

    asyncio.run(check())
