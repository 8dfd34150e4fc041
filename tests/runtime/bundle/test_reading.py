from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from mounts import config_map, snapshot, storage_initializer, switch_config_map

from runtime.bundle import reading
from runtime.bundle.manifest import GOLDEN, MANIFEST, ONNX_MODEL, parse_manifest
from runtime.bundle.reading import digest, read_bundle
from runtime.errors import ArtifactError

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    Damage = Callable[[Path], object]


def test_a_sound_bundle_is_read_whole(bundle: Path) -> None:
    """The verified bytes of every file in the manifest are returned."""
    found = read_bundle(bundle)
    assert found.path == bundle
    assert set(found.files) == set(found.manifest.files) >= {ONNX_MODEL, GOLDEN}
    for name, content in found.files.items():
        assert content == (bundle / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == found.manifest.files[name].sha256


def test_a_bundle_is_read_through_a_link_to_its_folder(bundle: Path, tmp_path: Path) -> None:
    """The folder may be a link."""
    (tmp_path / "current").symlink_to(bundle)
    assert read_bundle(tmp_path / "current").manifest == read_bundle(bundle).manifest


@pytest.mark.parametrize("mount", [config_map, snapshot, storage_initializer])
def test_a_bundle_of_links_is_read(
    bundle: Path, tmp_path: Path, mount: Callable[[Path, Path], Path]
) -> None:
    """Volumes of Kubernetes, KServe and snapshots of Hugging Face consist of links."""
    folder = mount(bundle, tmp_path)
    assert all(path.is_symlink() for path in folder.iterdir() if path.name[0] != ".")
    assert read_bundle(folder).files == read_bundle(bundle).files


@pytest.mark.parametrize("switches", [1, 2, 3], ids=["to the new", "and back", "and forth"])
def test_a_bundle_is_never_a_mix_of_two(
    bundle: Path,
    make_bundle: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    switches: int,
) -> None:
    """A volume that is switched between two files is read again, as a whole."""
    bundles = [bundle, make_bundle(name="simplenet")]
    folder = config_map(bundle, tmp_path)
    waiting = list(range(1, switches + 1))
    read = reading.read_regular_file

    def read_and_switch(path: Path, *, limit: int, advice: str) -> bytes:
        content = read(path, limit=limit, advice=advice)
        if waiting:
            switch_config_map(folder, bundles[waiting.pop(0) % 2])
        return content

    monkeypatch.setattr(reading, "read_regular_file", read_and_switch)
    assert read_bundle(folder).files == reading.read_bundle(bundles[switches % 2]).files


def test_files_beside_the_listed_ones_do_not_matter(bundle_copy: Path) -> None:
    """Files that are not in the manifest are not read."""
    os.mkfifo(bundle_copy / "notes")
    assert "notes" not in read_bundle(bundle_copy).files


def edit(change: Callable[[dict[str, Any]], object]) -> Damage:
    """Damage by changing the manifest's JSON."""

    def damage(folder: Path) -> None:
        values = json.loads((folder / MANIFEST).read_bytes())
        change(values)
        (folder / MANIFEST).write_text(json.dumps(values))

    return damage


def put(key: str, value: object) -> Damage:
    """Damage by setting one key of the manifest."""
    return edit(lambda values: values.update({key: value}))


def rename_entry(name: str) -> Damage:
    """Damage by listing the golden rows under a second name."""
    return edit(lambda values: values["files"].update({name: values["files"][GOLDEN]}))


def promise(name: str, **values: object) -> Damage:
    """Damage by changing an entry of a file."""
    return edit(lambda manifest: manifest["files"][name].update(values))


def write(name: str, content: bytes) -> Damage:
    """Damage by other content."""
    return lambda folder: (folder / name).write_bytes(content)


def flip(name: str, position: int) -> Damage:
    """Damage by one altered bit."""

    def damage(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[position] ^= 1
        (folder / name).write_bytes(content)

    return damage


def cut(name: str, size: int) -> Damage:
    """Damage by truncation."""
    return lambda folder: os.truncate(folder / name, size)


def instead(name: str, make: Damage) -> Damage:
    """Damage by replacing a file."""

    def damage(folder: Path) -> None:
        (folder / name).rename(folder.parent / "moved")
        make(folder / name)

    return damage


def link(target: str) -> Damage:
    """Put a link there."""
    return lambda path: path.symlink_to(target)


def replace_folder_by_link(folder: Path) -> None:
    """Damage by a link to no folder."""
    shutil.rmtree(folder)
    folder.symlink_to("gone")


def swell(name: str, size: int) -> Damage:
    """Damage by a sparse file, with a manifest that matches its size."""

    def damage(folder: Path) -> None:
        os.truncate(folder / name, size)
        promise(name, size=size)(folder)

    return damage


def grow(path: Path) -> None:
    """Append a byte."""
    with path.open("ab") as stream:
        stream.write(b"\n")


DAMAGES = [
    pytest.param(shutil.rmtree, "no bundle at", id="no folder"),
    pytest.param(lambda folder: (folder / MANIFEST).unlink(), "has no manifest", id="no manifest"),
    pytest.param(lambda folder: (folder / ONNX_MODEL).unlink(), ONNX_MODEL, id="no model"),
    pytest.param(lambda folder: (folder / GOLDEN).unlink(), GOLDEN, id="no golden rows"),
    pytest.param(write(MANIFEST, b""), MANIFEST, id="empty manifest"),
    pytest.param(cut(MANIFEST, 700), MANIFEST, id="truncated manifest"),
    pytest.param(write(MANIFEST, b"\x00\xff binary"), MANIFEST, id="manifest no JSON"),
    pytest.param(write(MANIFEST, b'{"format": 1}'), MANIFEST, id="manifest lacks keys"),
    pytest.param(write(MANIFEST, b"[1]"), MANIFEST, id="manifest a list"),
    pytest.param(write(MANIFEST, b"[" * 500_000), MANIFEST, id="nested lists"),
    pytest.param(
        write(MANIFEST, b'{"a":' * 200_000 + b"1" + b"}" * 200_000), MANIFEST, id="nested objects"
    ),
    pytest.param(
        write(MANIFEST, b'{"format": 1, "x": "' + b"x" * 17_000_000 + b'"}'), "more than", id="huge"
    ),
    pytest.param(write(MANIFEST, b'{"format": 1, "\xff": 0}'), MANIFEST, id="manifest no UTF-8"),
    pytest.param(put("format", 2), "is of format 2", id="newer format"),
    pytest.param(put("format", 0), "is of format 0", id="older format"),
    pytest.param(put("format", -(2**70)), MANIFEST, id="negative format"),
    pytest.param(put("format", "1"), MANIFEST, id="format as text"),
    pytest.param(put("format", 1.5), MANIFEST, id="format as fraction"),
    pytest.param(put("format", None), MANIFEST, id="format null"),
    pytest.param(put("format", [1]), MANIFEST, id="format a list"),
    pytest.param(put("format", True), MANIFEST, id="format true"),
    pytest.param(edit(lambda values: values.pop("format")), MANIFEST, id="no format"),
    pytest.param(put("surprise", 1), "surprise", id="unknown key"),
    pytest.param(
        edit(lambda values: values["model"].update(surprise=1)), "surprise", id="unknown inner key"
    ),
    pytest.param(put("files", {}), f"does not list {ONNX_MODEL}", id="no files"),
    pytest.param(
        edit(lambda values: values["files"].pop(GOLDEN)), f"not list {GOLDEN}", id="no golden entry"
    ),
    pytest.param(put("files", []), MANIFEST, id="files a list"),
    pytest.param(rename_entry("../moved"), "'../moved'", id="path above the bundle"),
    pytest.param(rename_entry("/etc/hostname"), "'/etc/hostname'", id="absolute path"),
    pytest.param(rename_entry("sub/model.onnx"), "'sub/model.onnx'", id="path in a folder"),
    pytest.param(rename_entry("..\\moved"), "moved", id="path of Windows"),
    pytest.param(rename_entry(".."), "'..'", id="parent folder"),
    pytest.param(rename_entry("."), "'.'", id="own folder"),
    pytest.param(rename_entry(""), "''", id="empty name"),
    pytest.param(rename_entry("a\0b"), "no file of the bundle", id="NUL in a name"),
    pytest.param(rename_entry("\udc80\ud800"), "", id="lone surrogates in a name"),
    pytest.param(rename_entry("x" * 5000), "File name too long", id="endless name"),
    pytest.param(rename_entry(MANIFEST), "no file of the bundle", id="manifest lists itself"),
    pytest.param(rename_entry("more.bin"), "more.bin", id="lists a file that is not there"),
    pytest.param(promise(GOLDEN, sha256="0" * 64), GOLDEN, id="other hash"),
    pytest.param(promise(GOLDEN, sha256=""), GOLDEN, id="empty hash"),
    pytest.param(promise(GOLDEN, sha256="ab"), GOLDEN, id="short hash"),
    pytest.param(promise(GOLDEN, sha256=5), MANIFEST, id="hash a number"),
    pytest.param(promise(GOLDEN, size=1), GOLDEN, id="smaller size"),
    pytest.param(promise(GOLDEN, size=-1), GOLDEN, id="negative size"),
    pytest.param(promise(GOLDEN, size=2**33 - 2**20), GOLDEN, id="large size"),
    pytest.param(promise(GOLDEN, size=2**62), "lists more than", id="immense size"),
    pytest.param(swell(GOLDEN, 2**42), "lists more than", id="immense file"),
    pytest.param(promise(GOLDEN, size=2**70), "", id="size beyond 64 bits"),
    pytest.param(promise(GOLDEN, size="4382"), MANIFEST, id="size as text"),
    pytest.param(lambda folder: grow(folder / ONNX_MODEL), ONNX_MODEL, id="longer model"),
    pytest.param(cut(ONNX_MODEL, 100), ONNX_MODEL, id="truncated model"),
    pytest.param(cut(ONNX_MODEL, 0), ONNX_MODEL, id="empty model"),
    pytest.param(flip(ONNX_MODEL, 600), ONNX_MODEL, id="altered model"),
    pytest.param(flip(GOLDEN, 200), GOLDEN, id="altered golden rows"),
    pytest.param(instead(ONNX_MODEL, link("gone")), "(a link to gone)", id="dangling model"),
    pytest.param(instead(MANIFEST, link("gone")), "(a link to gone)", id="dangling manifest"),
    pytest.param(instead(ONNX_MODEL, link(ONNX_MODEL)), "symbolic links", id="looping model"),
    pytest.param(instead(MANIFEST, link(MANIFEST)), "symbolic links", id="looping manifest"),
    pytest.param(instead(ONNX_MODEL, link("/etc/hosts")), "is not the file", id="link elsewhere"),
    pytest.param(instead(GOLDEN, link("..")), "not a regular file", id="link to a folder"),
    pytest.param(instead(ONNX_MODEL, Path.mkdir), ONNX_MODEL, id="folder for the model"),
    pytest.param(instead(MANIFEST, Path.mkdir), MANIFEST, id="folder for the manifest"),
    pytest.param(instead(ONNX_MODEL, os.mkfifo), ONNX_MODEL, id="pipe for the model"),
    pytest.param(instead(MANIFEST, os.mkfifo), MANIFEST, id="pipe for the manifest"),
    pytest.param(instead(GOLDEN, link("/dev/zero")), "not a regular file", id="link to a device"),
    pytest.param(replace_folder_by_link, "(a link to gone)", id="dangling folder"),
]


@pytest.mark.parametrize(("damage", "said"), DAMAGES)
def test_a_damaged_bundle_is_refused(bundle_copy: Path, damage: Damage, said: str) -> None:
    """Any damage is an ``ArtifactError`` that names the file."""
    damage(bundle_copy)
    with pytest.raises(ArtifactError) as caught:
        read_bundle(bundle_copy)
    assert said in str(caught.value)
    assert str(bundle_copy) in str(caught.value)
    assert len(str(caught.value)) < 6000, "a message, not a dump"


def test_a_file_larger_than_the_memory_is_refused(
    bundle_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sparse file beyond the limit is refused by name."""
    monkeypatch.setattr(reading, "_MAX_BUNDLE_BYTES", 2**62)
    swell(GOLDEN, 2**43)(bundle_copy)
    with pytest.raises(ArtifactError, match=r"golden\.npz: it is larger than the available memory"):
        read_bundle(bundle_copy)


@pytest.mark.parametrize(
    "name", sorted(read_bundle(Path(__file__).parents[2] / "data/bundle").files)
)
def test_every_listed_file_is_checked(bundle_copy: Path, name: str) -> None:
    """A change of the first or last byte of any file is detected."""
    for position in (0, -1):
        flip(name, position)(bundle_copy)
        with pytest.raises(ArtifactError, match="is not the file that was exported"):
            read_bundle(bundle_copy)
        flip(name, position)(bundle_copy)
    read_bundle(bundle_copy)


@pytest.mark.parametrize("path", ["x" * 5000, "a/b/c"], ids=["endless name", "no such folder"])
def test_a_path_that_is_no_folder_is_no_bundle(path: str) -> None:
    """A mistyped path is reported."""
    with pytest.raises(ArtifactError, match="bundle"):
        read_bundle(Path(path))


def test_a_file_is_no_bundle(bundle: Path) -> None:
    """A model file is not a bundle."""
    with pytest.raises(ArtifactError, match="no bundle at"):
        read_bundle(bundle / ONNX_MODEL)


def test_a_manifest_is_written_as_it_is_read(bundle: Path) -> None:
    """A manifest round-trips to the same bytes."""
    content = (bundle / MANIFEST).read_bytes()
    assert parse_manifest(content, where="here").to_json() == content


def test_a_digest_is_what_sha256sum_says() -> None:
    """Digests equal those of ``sha256sum``."""
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert (digest(b"").sha256, digest(b"").size) == (empty, 0)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(cut(MANIFEST, 700), id="truncated manifest"),
        pytest.param(write(MANIFEST, b"[" * 500_000), id="nested lists"),
        pytest.param(put("format", 2), id="newer format"),
        pytest.param(flip(ONNX_MODEL, 600), id="altered model"),
        pytest.param(instead(ONNX_MODEL, os.mkfifo), id="pipe for the model"),
        pytest.param(shutil.rmtree, id="no folder"),
    ],
)
def test_a_damaged_bundle_ends_the_command_with_one_message(
    bundle_copy: Path,
    damage: Damage,
    run_command: Callable[..., subprocess.CompletedProcess[bytes]],
) -> None:
    """Exit code 4, one message, no traceback, nothing on standard output."""
    damage(bundle_copy)
    done = run_command("verify", bundle_copy)
    assert done.returncode == 4
    assert done.stdout == b""
    assert done.stderr.startswith(b"runtime: error: ")
    assert done.stderr.count(b"\n") == 1
