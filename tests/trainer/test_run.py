from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mounts import snapshot
from safetensors.torch import load_file, save_file

from runtime.bundle.manifest import File
from runtime.errors import ArtifactError
from runtime.schema.features import Feature, Schema
from trainer.data.dataset import Rows
from trainer.model import SimpleNet
from trainer.run import MAX_STORED_ROWS, Run, RunRecord, load_run, save_run

Damage = Callable[[Path], object]
Tensors = dict[str, torch.Tensor]


def make_run(rows: int, hidden: tuple[int, ...] = (4, 3)) -> Run:
    """An untrained run of three features and classes."""
    generator = torch.Generator().manual_seed(1)
    features = torch.rand(rows, 3, generator=generator)
    labels = torch.arange(rows) % 3
    schema = Schema(
        target="kind",
        features=tuple(Feature(name, 0.0, 1.0) for name in ("a", "b", "größe")),
        classes=("x", "y", "z"),
    )
    record = RunRecord(
        format=1,
        model="simplenet",
        hidden=hidden,
        schema=schema,
        configuration={"preset": "default", "learning_rate": 0.1, "epochs": 3, "standardise": True},
        seed=2**63 - 1,
        data_digest="0" * 64,
        metrics={"accuracy": 1 / 3},
        versions={"torch": "2"},
        files={},
    )
    with torch.random.fork_rng(devices=[]):
        model = SimpleNet(3, 3, hidden).eval()
    return Run(record, model, Rows(features, labels, features[:5], labels[:5]))


def describe(path: Path) -> dict[str, object]:
    content = path.read_bytes()
    return {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}


def edit_record(run: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Change the record, keeping it valid JSON."""
    record = json.loads((run / "run.json").read_bytes())
    edit(record)
    (run / "run.json").write_text(json.dumps(record))


def edit_tensors(run: Path, name: str, edit: Callable[[Tensors], object]) -> None:
    """Change a file of tensors and its digest in the record."""
    tensors = load_file(run / name)
    edit(tensors)
    save_file(tensors, run / name)
    edit_record(run, lambda record: record["files"].update({name: describe(run / name)}))


@pytest.mark.parametrize("hidden", [(), (32,), (4, 3)], ids=str)
def test_a_run_round_trips(tmp_path: Path, hidden: tuple[int, ...]) -> None:
    """Record, weights and rows are loaded bit for bit."""
    made = make_run(20, hidden)
    saved = save_run(tmp_path, made)
    loaded = load_run(tmp_path)
    assert loaded.record == saved.record
    assert set(loaded.record.files) == {"weights.safetensors", "rows.safetensors"}
    weights = loaded.model.state_dict()
    assert list(weights) == list(made.model.state_dict())
    assert all(map(torch.equal, weights.values(), made.model.state_dict().values()))
    assert all(map(torch.equal, vars(loaded.rows).values(), vars(made.rows).values()))
    features = made.rows.train_features
    assert torch.equal(loaded.model(features), made.model(features))
    assert not loaded.model.training


def test_the_record_has_the_digests_of_the_files(tmp_path: Path) -> None:
    """Size and SHA-256 are those of the files in the directory."""
    record = save_run(tmp_path, make_run(20)).record
    for name, file in record.files.items():
        assert file == File(**describe(tmp_path / name))  # type: ignore[arg-type]  # str and int


def test_at_most_ten_thousand_rows_of_each_split_are_stored(tmp_path: Path) -> None:
    """The first rows of each, so that a run of any table is small."""
    made = make_run(MAX_STORED_ROWS + 1)
    saved = save_run(tmp_path, made)
    rows = load_run(tmp_path).rows
    assert MAX_STORED_ROWS == 10_000
    assert torch.equal(rows.train_features, made.rows.train_features[:MAX_STORED_ROWS])
    assert torch.equal(rows.train_labels, made.rows.train_labels[:MAX_STORED_ROWS])
    assert len(rows.test_labels) == 5
    assert len(saved.rows.train_labels) == MAX_STORED_ROWS


def test_loading_leaves_the_global_random_state(finished_run: Path) -> None:
    """The caller's random numbers do not change."""
    before = torch.get_rng_state()
    load_run(finished_run)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", ["run.json", "weights.safetensors", "rows.safetensors"])
@pytest.mark.parametrize(
    "damage",
    [
        Path.unlink,
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
        lambda file: file.write_bytes(file.read_bytes() + b"\0"),
        lambda file: (file.unlink(), file.mkdir()),
        lambda file: (file.unlink(), file.symlink_to("gone")),
    ],
    ids=["missing", "empty", "cut in half", "one byte more", "a folder", "a dangling link"],
)
def test_a_damaged_file_is_refused_by_name(run_copy: Path, name: str, damage: Damage) -> None:
    """The error has the path of the damaged file."""
    damage(run_copy / name)
    with pytest.raises(ArtifactError, match=name):
        load_run(run_copy)


def test_a_run_of_links_is_loaded(finished_run: Path, tmp_path: Path) -> None:
    """A run may be a snapshot of Hugging Face's cache."""
    assert load_run(snapshot(finished_run, tmp_path)).record == load_run(finished_run).record


@given(data=st.data())
def test_any_flipped_bit_of_the_tensors_is_detected(
    finished_run: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Digests detect what the safetensors format would accept."""
    name = data.draw(st.sampled_from(["weights.safetensors", "rows.safetensors"]))
    content = bytearray((finished_run / name).read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    folder = Path(shutil.copytree(finished_run, tmp_path_factory.mktemp("flipped") / "run"))
    (folder / name).write_bytes(content)
    with pytest.raises(ArtifactError, match=name):
        load_run(folder)


@given(data=st.data())
def test_an_altered_record_never_crashes(
    finished_run: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Whatever is in run.json, reading gives a run or the documented error."""
    content = bytearray((finished_run / "run.json").read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    folder = Path(shutil.copytree(finished_run, tmp_path_factory.mktemp("altered") / "run"))
    (folder / "run.json").write_bytes(content)
    try:
        load_run(folder)
    except ArtifactError as exc:
        assert str(folder) in str(exc)  # noqa: PT017 - both ends are right


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda record: record.update(format=2), "format 2.*reads format 1"),
        (lambda record: record.pop("format"), "format"),
        (lambda record: record.update(surprise=1), "surprise"),
        (lambda record: record.update(model="transformer"), "model"),
        (lambda record: record.update(hidden=[0]), "hidden"),
        (lambda record: record.update(hidden=[10**12]), "layers.0.weight"),
        (lambda record: record.update(hidden=[16, 16]), "layers.4.weight is missing"),
        (lambda record: record["schema"]["features"].pop(), "record expects"),
        (lambda record: record["schema"].update(classes=["no", "yes", "maybe"]), "record expects"),
        (lambda record: record["files"].pop("rows.safetensors"), "rows.safetensors"),
        (lambda record: record["files"].update({"../x": describe(Path(__file__))}), r"\.\./x"),
        (
            lambda record: record["files"]["rows.safetensors"].update(size=10**30),
            "rows.safetensors",
        ),
        (lambda record: record["files"]["rows.safetensors"].update(size=-1), "rows.safetensors"),
    ],
    ids=[
        "a newer format",
        "no format",
        "an unknown key",
        "an unknown model",
        "an empty layer",
        "a layer too large for memory",
        "a layer more",
        "a feature less",
        "a class more",
        "a file less",
        "a file outside the run",
        "a huge size",
        "a negative size",
    ],
)
def test_an_inconsistent_record_is_refused(
    run_copy: Path, edit: Callable[[dict[str, Any]], object], message: str
) -> None:
    """The message names the inconsistency."""
    edit_record(run_copy, edit)
    with pytest.raises(ArtifactError, match=message):
        load_run(run_copy)


@pytest.mark.parametrize(
    ("name", "edit", "message"),
    [
        ("weights", lambda t: t.pop("layers.2.bias"), "layers.2.bias is missing"),
        ("weights", lambda t: t.update(extra=torch.zeros(1)), "extra is unexpected"),
        ("weights", lambda t: t.update({"layers.2.bias": torch.zeros(3)}), "layers.2.bias"),
        ("weights", lambda t: t.update({"layers.2.bias": torch.zeros(2).half()}), "float16"),
        ("rows", lambda t: t.update(test_labels=t["test_labels"][1:].clone()), "test_features"),
        ("rows", lambda t: t.update(train_labels=torch.tensor(1)), "train_labels"),
        ("rows", lambda t: t.pop("train_features"), "train_features is missing"),
        ("rows", lambda t: t["test_labels"].fill_(2), r"labels outside 0\.\.1"),
        ("rows", lambda t: t["test_labels"].fill_(-1), r"labels outside 0\.\.1"),
    ],
    ids=[
        "a bias less",
        "a tensor more",
        "another shape",
        "another type",
        "a label less",
        "a single label",
        "no features",
        "a class too high",
        "a class too low",
    ],
)
def test_unexpected_tensors_are_refused(
    run_copy: Path, name: str, edit: Callable[[Tensors], object], message: str
) -> None:
    """A correct digest is not enough: names, shapes, types and labels must match the schema."""
    edit_tensors(run_copy, f"{name}.safetensors", edit)
    with pytest.raises(ArtifactError, match=message):
        load_run(run_copy)


def test_a_pickle_is_refused(run_copy: Path) -> None:
    """Weights saved by torch.save are refused, even with their correct digest."""
    torch.save(SimpleNet(2, 2).state_dict(), run_copy / "weights.safetensors")
    edit_record(
        run_copy,
        lambda record: record["files"].update(
            {"weights.safetensors": describe(run_copy / "weights.safetensors")}
        ),
    )
    with pytest.raises(ArtifactError, match="not readable as safetensors"):
        load_run(run_copy)


def test_a_file_instead_of_a_run_is_refused(tmp_path: Path) -> None:
    """A path to a file is the same kind of error."""
    (tmp_path / "run").write_text("no folder")
    with pytest.raises(ArtifactError, match=r"cannot read .*run\.json: Not a directory"):
        load_run(tmp_path / "run")


def test_a_missing_run_has_advice(tmp_path: Path) -> None:
    """The message names the missing file and the command that writes it."""
    with pytest.raises(ArtifactError, match=r"nowhere/run\.json is missing.*`trainer fit`"):
        load_run(tmp_path / "nowhere")
