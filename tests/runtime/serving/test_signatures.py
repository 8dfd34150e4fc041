"""A server with a key serves signed bundles only, also after a reload."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from serving_client import features
from signers import SIGNATURE, Signer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from serving_client import Served

ROW = [7.5, 3.0]


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    """The owner of the server's key."""
    return Signer(tmp_path / "keys")


def test_a_reload_of_an_unsigned_or_altered_bundle_is_refused(
    start_server: Callable[..., Served],
    signer: Signer,
    bundle_copy: Path,
    make_bundle: Callable[..., Path],
) -> None:
    """The old one is still served, the reason is reported; once signed, the new one is served."""
    signer.sign(bundle_copy)
    server = start_server("--bundle", f"m={bundle_copy}", "--key", signer.public)
    infer, load = "/v2/models/m/infer", "/v2/repository/models/m/load"
    before = server.ask(infer, features(ROW)).json["model_version"]
    new = make_bundle(name="simplenet")
    for unsigned, said in ((True, "is not signed"), (False, "was made with another key")):
        shutil.rmtree(bundle_copy)
        shutil.copytree(new, bundle_copy)
        if not unsigned:
            Signer(signer.private.parent / "other").sign(bundle_copy)
        answer = server.ask(load, b"")
        assert answer.status == 400
        assert said in answer.error
        assert f"version {before} is still served" in answer.error
        assert said in server.ask("/v2/health/ready").json["reasons"]["m"]
        assert server.ask(infer, features(ROW)).json["model_version"] == before
    signer.sign(bundle_copy)
    assert server.ask(load, b"").status == 200
    assert server.ask(infer, features(ROW)).json["model_version"] != before
    assert server.end() == 0


def test_each_bundle_of_a_folder_is_verified(
    start_server: Callable[..., Served], signer: Signer, bundle: Path, tmp_path: Path
) -> None:
    """A new one without a signature is not loaded, by each worker."""
    models = tmp_path / "models"
    shutil.copytree(bundle, models / "first")
    signer.sign(models / "first")
    server = start_server("--models", models, "--key", signer.public, "--workers", 2)
    shutil.copytree(bundle, models / "second")
    answer = server.ask("/v2/repository/models/second/load", b"")
    assert (answer.status, "is not signed" in answer.error) == (400, True)
    assert server.ask("/v2/models/second/infer", features(ROW)).status == 404
    signer.sign(models / "second")
    assert server.ask("/v2/repository/models/second/load", b"").status == 200
    assert server.ask("/v2/models/second/infer", features(ROW)).status == 200
    (models / "first" / SIGNATURE).unlink()
    assert server.ask("/v2/repository/models/first/load", b"").status == 400
    assert server.ask("/v2/models/first/infer", features(ROW)).status == 200
    assert server.end() == 0
