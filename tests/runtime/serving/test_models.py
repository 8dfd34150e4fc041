"""Several bundles, their reload under load, and reports of failed loads."""

from __future__ import annotations

import json
import shutil
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from mounts import config_map, snapshot, storage_initializer, switch_config_map
from serving_client import PATIENCE_S, features

from runtime.cli.serve import find_bundles
from runtime.io.watching import folder_state
from runtime.serving.models.repository import Repository
from runtime.serving.settings import Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from serving_client import Answer, Served

ROWS = [[7.5, 3.0], [2.0, 1.5]]
READY = "/v2/health/ready"


def _until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, or fail."""
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.fixture
def other(make_bundle: Callable[..., Path]) -> Path:
    """Another bundle with the same columns."""
    return make_bundle(name="simplenet")


@pytest.fixture(params=["load", "hangup", "watch"])
def reload(
    request: pytest.FixtureRequest, start_server: Callable[..., Served], bundle_copy: Path
) -> Iterator[tuple[Served, Callable[[], Answer | None]]]:
    """A server of a bundle that may change, and each way to reload it."""
    watches = ["--watch"] if request.param == "watch" else []
    server = start_server("--bundle", f"m={bundle_copy}", *watches)

    def act() -> Answer | None:
        if request.param == "load":
            return server.ask("/v2/repository/models/m/load", b"")
        if request.param == "hangup":
            server.process.send_signal(signal.SIGHUP)
        return None

    yield server, act
    assert server.end() == 0


def _version(server: Served) -> str:
    return str(server.ask("/v2/models/m/infer", features(*ROWS)).json["model_version"])


def _replace(folder: Path, new: Path) -> None:
    """Replace a bundle atomically."""
    old = folder.rename(folder.with_name("old"))
    shutil.copytree(new, folder.with_name("new")).rename(folder)
    shutil.rmtree(old)


def test_new_bundle_is_served(
    reload: tuple[Served, Callable[[], Answer | None]], bundle_copy: Path, other: Path
) -> None:
    """After POST load, SIGHUP or with --watch, the new version responds under its name."""
    server, act = reload
    before = _version(server)
    _replace(bundle_copy, other)
    act()
    _until(lambda: _version(server) != before)
    version = json.loads((other / "manifest.json").read_text())["model"]["version"]
    assert _version(server) == version
    assert server.ask(f"/v2/models/m/versions/{before}").status == 404
    assert server.ask(f"/v2/models/m/versions/{version}").status == 200


def test_failed_load_keeps_the_version_and_is_reported(
    reload: tuple[Served, Callable[[], Answer | None]], bundle_copy: Path
) -> None:
    """The previous version stays; readiness, index, metrics and log report the failure."""
    server, act = reload
    before = _version(server)
    model = bundle_copy / "model.onnx"
    good = model.read_bytes()
    model.write_bytes(good[:-1] + b"\x00")
    answer = act()
    if answer:
        assert answer.status == 400
        assert "model.onnx is not the file that was exported" in answer.error
        assert f"version {before} is still served" in answer.error
    _until(lambda: "reasons" in server.ask(READY).json)
    assert server.ask(READY).status == 200
    assert "model.onnx is not the file" in server.ask(READY).json["reasons"]["m"]
    assert "model.onnx" in server.ask("/v2/repository/index", b"").json[0]["reason"]
    assert 'onnxferry_model_stale{model="m"} 1' in server.ask("/metrics").body.decode()
    assert _version(server) == before
    model.write_bytes(good)
    act()
    _until(lambda: "reasons" not in server.ask(READY).json)
    assert 'onnxferry_model_stale{model="m"} 0' in server.ask("/metrics").body.decode()
    assert server.end() == 0
    (failure,) = (line for line in map(_parse, server.lines) if line["event"] == "load failed")
    assert (failure["model"], failure["served"]) == ("m", before)


def _parse(line: str) -> dict[str, str]:
    return json.loads(line) if line.startswith("{") else {"event": ""}


def test_unloaded_model_is_gone_until_loaded(
    start_server: Callable[..., Served], bundle: Path
) -> None:
    """Unloaded, the model is 404; the server is ready while it serves another."""
    server = start_server("--bundle", f"a={bundle}", "--bundle", f"b={bundle}")
    assert server.ask("/v2/repository/models/a/unload", b"{}").status == 200
    answer = server.ask("/v2/models/a/infer", features(*ROWS))
    assert answer.status == 404
    assert "POST /v2/repository/models/a/load" in answer.error
    assert server.ask("/v2/models/a/ready").status == 404
    assert server.ask("/v2/models/b/infer", features(*ROWS)).status == 200
    assert server.ask(READY).json == {"ready": True, "reasons": {"a": "unloaded"}}
    index = server.ask("/v2/repository/index", b"").json
    assert [(one["name"], one["state"]) for one in index] == [("a", "UNAVAILABLE"), ("b", "READY")]
    assert len(server.ask("/v2/repository/index", b'{"ready": true}').json) == 1
    assert server.ask("/v2/repository/models/b/unload", b"{}").status == 200
    assert server.ask(READY).status == 503  # it serves nothing
    assert server.ask("/v2/repository/models/a/load", b"{}").status == 200
    assert server.ask("/v2/models/a/infer", features(*ROWS)).status == 200
    assert server.ask(READY).status == 200


def test_reload_skips_unloaded_models(
    start_server: Callable[..., Served], bundle_copy: Path
) -> None:
    """An unloaded model stays so, whatever happens to its folder, until a client loads it."""
    server = start_server("--bundle", f"m={bundle_copy}", "--bundle", f"n={bundle_copy}", "--watch")
    assert server.ask("/v2/repository/models/m/unload", b"").status == 200
    (bundle_copy / "note").write_text("a change")
    server.process.send_signal(signal.SIGHUP)
    loads = 'onnxferry_model_loads_total{model="n",outcome="served"} 3'  # SIGHUP, --watch
    _until(lambda: loads in server.ask("/metrics").body.decode())
    assert server.ask("/v2/models/m/ready").status == 404
    assert server.end() == 0


@pytest.mark.parametrize("mount", [config_map, snapshot, storage_initializer])
def test_switched_links_are_noticed_once(
    bundle: Path, other: Path, tmp_path: Path, mount: Callable[[Path, Path], Path]
) -> None:
    """A change is seen through links; the hidden folders of a volume are no change."""
    source = Path(shutil.copytree(bundle, tmp_path / "source"))
    folder = mount(source, tmp_path)
    before = folder_state(folder)
    (folder / "..2025_01_01_00_00_0").mkdir()
    assert folder_state(folder) == before
    if mount is config_map:
        switch_config_map(folder, other)
    elif mount is storage_initializer:
        shutil.copy(other / "model.onnx", source)
    else:
        (folder / "model.onnx").unlink()
        (folder / "model.onnx").symlink_to(other / "model.onnx")
    assert folder_state(folder) != before


def test_switched_config_map_is_served(
    start_server: Callable[..., Served], bundle: Path, other: Path, tmp_path: Path
) -> None:
    """--watch serves what kubelet switched to, and a ``--models`` folder may hold links."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "m").symlink_to(config_map(bundle, tmp_path))
    (tmp_path / "models" / ".hidden").symlink_to(other)
    server = start_server("--models", tmp_path / "models", "--watch")
    before = _version(server)
    switch_config_map(tmp_path / "mount", other)
    _until(lambda: _version(server) != before)
    assert [one["name"] for one in server.ask("/v2/repository/index", b"").json] == ["m"]
    assert "reasons" not in server.ask(READY).json


def test_dangling_bundle_is_named(tmp_path: Path, bundle: Path) -> None:
    """A link in the folder of ``--models`` that leads nowhere is opened, which gives the reason."""
    (tmp_path / "a").symlink_to(bundle)
    (tmp_path / "b").symlink_to("gone")
    assert list(find_bundles([], tmp_path)) == ["a", "b"]


def test_fixed_permission_is_noticed(bundle_copy: Path) -> None:
    """A file that becomes readable keeps content, time and inode, and is still noticed."""
    before = folder_state(bundle_copy)
    (bundle_copy / "model.onnx").chmod(0o600)
    assert folder_state(bundle_copy) != before


def test_counters_survive_a_reload_of_the_same_version(
    start_server: Callable[..., Served], bundle: Path
) -> None:
    """Reloading the served version keeps all counters, also of values out of range."""
    server = start_server("--bundle", f"m={bundle}")
    server.ask("/v2/models/m/infer", features([75.0, 3.0]))
    before = _counted(server)
    assert before
    assert server.ask("/v2/repository/models/m/load", b"").status == 200
    assert _counted(server) == before
    assert server.end() == 0


def _counted(server: Served) -> list[str]:
    lines = server.ask("/metrics").body.decode().splitlines()
    names = ("onnxferry_inferences_total{", "onnxferry_out_of_range_total{")
    return [line for line in lines if line.startswith(names) and not line.endswith(" 0")]


def test_only_configured_bundles_are_loaded(server: Served) -> None:
    """No name or parameter of a request reaches other files."""
    for name in ("other", "..%2F..%2Fetc", "%00"):
        assert server.ask(f"/v2/repository/models/{name}/load", b"").status == 404
    answer = server.ask("/v2/repository/models/simplenet/load", b'{"parameters": {"config": "{}"}}')
    assert answer.status == 400
    assert "leave out parameters" in answer.error
    assert server.ask("/v2/repository/index", b"[").status == 400


def test_a_folder_of_bundles(
    start_server: Callable[..., Served], bundle: Path, tmp_path: Path
) -> None:
    """--models serves each bundle of a folder under its folder's name."""
    for name in ("first", "second one"):
        shutil.copytree(bundle, tmp_path / "models" / name)
    (tmp_path / "models" / "no bundle").mkdir()
    server = start_server("--models", tmp_path / "models")
    assert server.ask("/v2/models/first").status == 200
    assert server.ask("/v2/models/second%20one").json["name"] == "second one"
    assert server.ask("/v2/models/no%20bundle").status == 404


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("how", ["load", "hangup", "watch"])
def test_a_new_bundle_of_the_folder_is_loaded(
    start_server: Callable[..., Served], bundle: Path, tmp_path: Path, how: str, workers: int
) -> None:
    """By name, by SIGHUP or with --watch; an incomplete one waits, and the others are ready."""
    models = tmp_path / "models"
    shutil.copytree(bundle, models / "first")
    watches = ["--watch"] if how == "watch" else []
    server = start_server("--models", models, "--workers", workers, *watches)

    def act() -> int:
        if how == "load":
            return server.ask("/v2/repository/models/new%20one/load", b"").status
        if how == "hangup":
            server.process.send_signal(signal.SIGHUP)
        return 0

    unknown = server.ask("/v2/repository/models/new%20one/load", b"")
    assert (unknown.status, "no such bundle" in unknown.json["error"]) == (404, True)
    (models / "new one").mkdir()
    shutil.copy(bundle / "manifest.json", models / "new one")
    assert act() in {0, 400}
    _until(lambda: _state(server, "new one") == "UNAVAILABLE")
    assert server.ask(READY).status == 200
    assert server.ask("/predict", b'{"price": 7.5, "rating": 3}').status == 200  # the only one
    shutil.copytree(bundle, models / "new one", dirs_exist_ok=True)
    assert act() in {0, 200}
    _until(lambda: _state(server, "new one") == "READY")
    _until(lambda: {_infers(server, "new%20one") for _ in range(10)} == {200})
    assert server.ask("/v2/repository/models/..%2Ffirst/load", b"").status == 404
    assert server.end() == 0


def test_a_bundle_that_is_not_loaded_yet_is_not_denied(
    start_server: Callable[..., Served], bundle: Path, tmp_path: Path
) -> None:
    """Only a load searches the folder; the advice of other messages leads there."""
    shutil.copytree(bundle, tmp_path / "models" / "first")
    server = start_server("--models", tmp_path / "models")
    shutil.copytree(bundle, tmp_path / "models" / "new")
    answer = server.ask("/v2/models/new/ready")
    advice = "if it is new in the folder of the server's option models, POST "
    said, found, target = answer.json["error"].partition(advice)
    assert (answer.status, said, found) == (404, "no model 'new'; there are 'first'; ", advice)
    assert server.ask(target, b"").status == 200
    assert server.ask("/v2/models/new/ready").status == 200


def _infers(server: Served, name: str) -> int:
    return server.ask(f"/v2/models/{name}/infer", features(*ROWS)).status


def _state(server: Served, name: str) -> str:
    index = server.ask("/v2/repository/index", b"").json
    return next((one["state"] for one in index if one["name"] == name), "")


def test_a_new_bundle_that_vanishes_is_forgotten(bundle: Path, tmp_path: Path) -> None:
    """If it was never loaded; one that was served stays."""
    shutil.copytree(bundle, tmp_path / "first")
    repository = Repository({}, "cpu", Limits(), lambda _name, _slot: None, tmp_path)
    repository.open_new()
    assert repository.is_ready
    shutil.copytree(bundle, tmp_path / ".second.tmp")  # being written
    (tmp_path / "..data").symlink_to("first")
    assert repository.discover() == []
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "manifest.json").write_text("{}")
    repository.open_new()
    assert list(repository.slots) == ["first", "second"]
    assert repository.is_ready
    shutil.rmtree(tmp_path / "second")
    shutil.rmtree(tmp_path / "first")
    assert repository.discover() == []
    assert list(repository.slots) == ["first"]


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["--bundle", "a=nowhere"], 4, "no bundle at nowhere"),
        (["--models", "nowhere"], 2, "--models nowhere is not a folder"),
        (["--models", "."], 2, "has no bundles"),
        (["--bundle", "=x"], 2, "needs a name"),
        (["--bundle", "a=x", "--bundle", "a=y"], 2, "two bundles have the name 'a'"),
        (["--host", "nowhere.invalid"], 6, "cannot listen on nowhere.invalid"),
        (["--provider", "cuda"], 6, "CUDA was requested"),
    ],
    ids=range(7),
)
def test_startup_errors(
    run_command: Callable[..., object], bundle: Path, arguments: list[str], code: int, error: str
) -> None:
    """A server that cannot start reports why in one line, with the documented exit code."""
    named = [] if {"--bundle", "--models"} & set(arguments) else ["--bundle", str(bundle)]
    done = run_command("serve", *named, *arguments, "--port", "0")
    assert done.returncode == code, done.stderr  # type: ignore[attr-defined]
    assert error.encode() in done.stderr  # type: ignore[attr-defined]
    assert b"Traceback" not in done.stderr  # type: ignore[attr-defined]


def test_port_in_use(server: Served, run_command: Callable[..., object], bundle: Path) -> None:
    """The second server on a port reports it."""
    done = run_command("serve", "--bundle", bundle, "--port", server.port)
    assert done.returncode == 6  # type: ignore[attr-defined]
    assert b"choose another with --host, --port" in done.stderr  # type: ignore[attr-defined]
