from __future__ import annotations

import io
import pickle
import tracemalloc
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from msgspec.structs import replace

from runtime.bundle.golden import Golden, check_golden, load_golden, save_golden
from runtime.bundle.manifest import GOLDEN, ONNX_MODEL
from runtime.errors import ArtifactError, ParityError
from runtime.predictor import Predictor
from runtime.session import Outputs, Session

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt


@pytest.fixture
def session(bundle: Path) -> Session:
    """The bundle's model on the CPU."""
    return Session((bundle / ONNX_MODEL).read_bytes(), provider="cpu")


@pytest.fixture
def golden(bundle: Path, predictor: Predictor) -> Golden:
    """The bundle's golden rows."""
    return load_golden((bundle / GOLDEN).read_bytes(), predictor.schema, where="here")


def test_golden_rows_are_stored_byte_for_byte(golden: Golden, predictor: Predictor) -> None:
    """Serialization is reproducible to the byte, also after a round trip."""
    content = save_golden(golden)
    assert content == save_golden(golden)
    again = load_golden(content, predictor.schema, where="here")
    assert save_golden(again) == content
    np.testing.assert_array_equal(again.logits, golden.logits)


def test_stored_rows_tell_no_time(golden: Golden) -> None:
    """The archive has no date and nothing of the machine."""
    with zipfile.ZipFile(io.BytesIO(save_golden(golden))) as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}


def test_the_bundle_computes_its_golden_rows(session: Session, golden: Golden) -> None:
    """An intact bundle passes, in one batch and row by row."""
    check_golden(session, golden, where="here")
    for row in range(len(golden.label)):
        one = {name: getattr(golden, name)[row : row + 1] for name in Golden.__struct_fields__}
        check_golden(session, Golden(**one), where="here")


def shift(values: npt.NDArray[np.float64], row: int, by: float) -> npt.NDArray[np.float64]:
    """A copy with one value shifted."""
    moved = values.copy()
    moved[row, 1] += by
    return moved


@pytest.mark.parametrize("name", ["logits", "probabilities"])
def test_an_answer_outside_its_bound_is_found(session: Session, golden: Golden, name: str) -> None:
    """One value beyond its bound fails; the message names the row."""
    by = 2.5 * float(getattr(golden, f"{name}_bound")[3, 1])
    moved: dict[str, Any] = {name: shift(getattr(golden, name), 3, by)}
    altered = replace(golden, **moved)
    with pytest.raises(ParityError, match=rf"golden row 3 .* has {name}\[1\].*do not serve"):
        check_golden(session, altered, where="here")


def test_another_label_is_found(session: Session, golden: Golden) -> None:
    """A decidable row with another label fails; an undecidable one passes."""
    row = int(np.flatnonzero(golden.decidable)[-1])
    label = golden.label.copy()
    label[row] = 1 - label[row]
    with pytest.raises(ParityError, match=f"golden row {row} .* has label"):
        check_golden(session, replace(golden, label=label), where="here")
    undecided = golden.decidable.copy()
    undecided[row] = False
    check_golden(session, replace(golden, label=label, decidable=undecided), where="here")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["logits", "probabilities"])
def test_an_answer_that_is_not_finite_is_found(golden: Golden, name: str, value: float) -> None:
    """NaN and infinity are outside every bound."""
    answers: dict[str, npt.NDArray[Any]] = {
        "label": golden.label,
        "probabilities": golden.probabilities.astype(np.float32),
        "logits": golden.logits.astype(np.float32),
    }
    answers[name][-1, 0] = value

    class Engine(Session):
        """Returns fixed outputs."""

        def __init__(self) -> None:
            self.provider = "cpu"

        def run(self, features: npt.NDArray[np.float32], **_: bool) -> Outputs:
            assert features is golden.features
            return Outputs(**answers)

    with pytest.raises(ParityError, match=f"has {name}"):
        check_golden(Engine(), golden, where="here")


def test_a_model_whose_output_is_nan_is_not_opened(make_bundle: Callable[..., Path]) -> None:
    """A bundle with valid digests whose model outputs NaN is refused."""
    with pytest.raises(ParityError, match="has logits"):
        Predictor(make_bundle(bias=float("nan")))


def test_a_model_that_computes_something_else_is_not_opened(
    make_bundle: Callable[..., Path],
) -> None:
    """A small shift is detected; without the check the bundle opens."""
    folder = make_bundle(bias=0.01)
    with pytest.raises(ParityError, match="do not serve this bundle here"):
        Predictor(folder)
    assert Predictor(folder, check=False).schema.n_features == 2


def archive_of(golden: Golden, **changes: object) -> bytes:
    """An archive with arrays replaced, or removed by None."""
    buffer = io.BytesIO()
    arrays = {name: getattr(golden, name) for name in Golden.__struct_fields__} | changes
    kept: dict[str, Any] = {
        name: np.asarray(array) for name, array in arrays.items() if array is not None
    }
    np.savez(buffer, allow_pickle=True, **kept)
    return buffer.getvalue()


def with_member(golden: Golden, name: str, content: bytes) -> bytes:
    """An archive in which one array's file has other content."""
    source = zipfile.ZipFile(io.BytesIO(save_golden(golden)))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for member in source.namelist():
            archive.writestr(member, content if member == f"{name}.npy" else source.read(member))
    return buffer.getvalue()


def npy(header: str, content: bytes = b"") -> bytes:
    """An array's file with a given header."""
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + content


def packed(golden: Golden) -> bytes:
    """The archive as ``np.savez_compressed`` writes it."""
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {name: getattr(golden, name) for name in Golden.__struct_fields__}
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def inflating(golden: Golden, size: int) -> bytes:
    """A small archive whose features decompress to ``size`` bytes."""
    source = zipfile.ZipFile(io.BytesIO(save_golden(golden)))
    rows = size // golden.features[0].nbytes
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, 2), }}"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for member in source.namelist():
            bomb = member == "features.npy"
            archive.writestr(member, npy(header, bytes(size)) if bomb else source.read(member))
    return buffer.getvalue()


class Trap:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return pytest.fail, ("a pickle was loaded",)


HOSTILE = [
    pytest.param(lambda _: b"", id="empty"),
    pytest.param(lambda _: b"PK\x03\x04", id="four bytes"),
    pytest.param(lambda golden: save_golden(golden)[:-30], id="truncated"),
    pytest.param(lambda golden: save_golden(golden)[:200], id="mostly missing"),
    pytest.param(lambda golden: save_golden(golden).replace(b"f4", b"i4"), id="wrong checksum"),
    pytest.param(lambda _: pickle.dumps(Trap()), id="a pickle"),
    pytest.param(lambda _: npy("{'descr': '<f8', 'fortran_order': False, 'shape': ()}"), id="npy"),
    pytest.param(lambda golden: archive_of(golden, label=None), id="no label"),
    pytest.param(lambda golden: archive_of(golden, logits=[Trap()]), id="pickled objects"),
    pytest.param(lambda golden: archive_of(golden, features=1.0), id="features a number"),
    pytest.param(lambda golden: archive_of(golden, label=0), id="label a number"),
    pytest.param(
        lambda golden: archive_of(golden, features=golden.features.astype(np.float64)),
        id="features float64",
    ),
    pytest.param(
        lambda golden: archive_of(golden, features=golden.features.astype(">f4")),
        id="features big-endian",
    ),
    pytest.param(
        lambda golden: archive_of(golden, label=golden.label.astype(np.int32)), id="label int32"
    ),
    pytest.param(
        lambda golden: archive_of(golden, decidable=golden.decidable.astype(np.int8)),
        id="decidable int8",
    ),
    pytest.param(
        lambda golden: archive_of(golden, features=golden.features[:, :1]), id="too narrow"
    ),
    pytest.param(lambda golden: archive_of(golden, label=golden.label[:-1]), id="too short"),
    pytest.param(
        lambda golden: archive_of(
            golden, **{name: getattr(golden, name)[:0] for name in Golden.__struct_fields__}
        ),
        id="no rows",
    ),
    pytest.param(
        lambda golden: archive_of(golden, logits_bound=np.full_like(golden.logits_bound, np.inf)),
        id="bounds that nothing leaves",
    ),
    pytest.param(
        lambda golden: archive_of(golden, features=np.full_like(golden.features, np.nan)),
        id="features NaN",
    ),
    pytest.param(packed, id="packed"),
    pytest.param(
        lambda golden: with_member(
            golden,
            "label",
            npy("{'descr': '<i8', 'fortran_order': False, 'shape': (1,), }", bytes(16)),
        ),
        id="more bytes than its shape says",
    ),
    pytest.param(lambda golden: with_member(golden, "label", b"text"), id="text for an array"),
    pytest.param(lambda golden: with_member(golden, "label", b""), id="nothing for an array"),
    pytest.param(lambda golden: with_member(golden, "label", npy("{" * 5000)), id="nested header"),
    pytest.param(lambda golden: with_member(golden, "label", npy("(1,")), id="open header"),
    pytest.param(
        lambda golden: with_member(
            golden, "label", npy("{'descr': '<i8', 'fortran_order': False, 'shape': (10**18,)}")
        ),
        id="computed shape",
    ),
    *[
        pytest.param(
            lambda golden, shape=shape: with_member(
                golden,
                "label",
                npy(f"{{'descr': '<i8', 'fortran_order': False, 'shape': ({shape},)}}"),
            ),
            id=f"shape {shape}",
        )
        for shape in (10**15, 10**18, 10**30, -1, 1.5)
    ],
]


def test_a_small_archive_does_not_grow_when_it_is_read(
    golden: Golden, predictor: Predictor
) -> None:
    """64 MB of zeros in 64 kB are refused before decompression."""
    content = inflating(golden, 64 * 2**20)
    assert len(content) < 2**20
    tracemalloc.start()
    with pytest.raises(ArtifactError, match=r"features\.npy is compressed"):
        load_golden(content, predictor.schema, where="golden rows here")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * 2**20


@pytest.mark.parametrize("make", HOSTILE)
def test_an_archive_that_does_not_fit_is_refused(
    golden: Golden, predictor: Predictor, make: Callable[[Golden], bytes]
) -> None:
    """Damaged or hostile golden rows are an ``ArtifactError``; no pickle is ever loaded."""
    with pytest.raises(ArtifactError, match=r"^golden rows here is damaged: .*export the model"):
        load_golden(make(golden), predictor.schema, where="golden rows here")
