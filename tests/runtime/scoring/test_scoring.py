from __future__ import annotations

import csv
import io
import os
import stat
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from runtime.errors import BadRowsError, DataError, SchemaError, UsageError
from runtime.predictor import Predictor
from runtime.scoring.options import Options
from runtime.scoring.pipeline import score_file
from runtime.tables.csv import driver
from runtime.tables.csv.reader import CsvReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.scoring.summary import Summary

    Score = Callable[..., tuple[bytes, Summary]]

BOM = b"\xef\xbb\xbf"


@pytest.fixture
def score(predictor: Predictor, tmp_path: Path) -> Callable[..., tuple[bytes, Summary]]:
    """Score bytes into bytes."""

    def run(data: bytes, options: Options | None = None) -> tuple[bytes, Summary]:
        source, out = tmp_path / "in.csv", tmp_path / "out.csv"
        source.write_bytes(data)
        summary = score_file(predictor, source, out, options or Options())
        return out.read_bytes(), summary

    return run


def answer(predictor: Predictor, *features: float) -> bytes:
    """The two new cells of a row, each led by a comma; the probability in the fewest digits."""
    found = predictor.predict([features])
    number = np.format_float_positional(found.probability[0], trim="-")
    return f",{found.label[0]},{number}".encode()


def names(folder: Path) -> list[str]:
    """Everything in a folder, hidden files too."""
    return sorted(path.name for path in folder.iterdir())


def test_answers_are_those_of_the_predictor(
    score: Score, predictor: Predictor, products: bytes
) -> None:
    """Label and probability of each row equal those of ``Predictor.predict``."""
    out, summary = score(products, Options(proba=True))
    header, *rows = csv.reader(io.StringIO(out.decode()))
    assert header[4:] == ["label", "probability", "probability_no", "probability_yes"]
    expected = predictor.predict([[float(row[1]), float(row[2])] for row in rows])
    assert [row[4] for row in rows] == expected.label.tolist()
    assert (
        np.array([row[5] for row in rows], np.float32).tobytes() == expected.probability.tobytes()
    )
    both = np.array([row[6:] for row in rows], dtype=np.float32)
    assert both.tobytes() == expected.probabilities.tobytes()
    assert (summary.rows, summary.scored, summary.rejected) == (200, 200, 0)
    assert summary.provider == "cpu"
    assert summary.rows_per_second == 200 / summary.seconds


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(b"price,rating", b"price,rating,label,probability\n", id="header alone"),
        pytest.param(
            b"price,rating\r\n", b"price,rating,label,probability\r\n", id="header and CRLF"
        ),
        pytest.param(BOM + b"price,rating\r", BOM + b"price,rating,label,probability\r", id="BOM"),
        pytest.param(
            b"price,rating\n\n\n", b"price,rating,label,probability\n\n\n", id="blank lines after"
        ),
        pytest.param(
            b'"rating", x ,"price"\n', b'"rating", x ,"price",label,probability\n', id="quotes"
        ),
    ],
)
def test_a_table_without_rows_gives_a_header(score: Score, data: bytes, expected: bytes) -> None:
    """An empty table has an output with a header only."""
    out, summary = score(data)
    assert out == expected
    assert (summary.rows, summary.scored) == (0, 0)


CARRIED = [
    pytest.param("price,rating\n7.5,3.0{}\n1,2{}\n", id="plain"),
    pytest.param("price,rating\n7.5,3.0{}\n1,2{}", id="no line end at the end"),
    pytest.param("price,rating\r\n7.5,3.0{}\r\n1,2{}\r\n", id="CRLF"),
    pytest.param("price,rating\r7.5,3.0{}\r1,2{}\r", id="CR"),
    pytest.param("price,rating\n7.5,3.0{}\r\n1,2{}\r", id="mixed ends"),
    pytest.param("price,rating\n\n\n7.5,3.0{}\n\r\n1,2{}\n\n", id="blank lines"),
    pytest.param("\ufeffprice,rating\n7.5,3.0{}\n1,2{}\n", id="byte order mark"),
    pytest.param("price,rating\n 7.5 ,+3{}\n1e0,2.{}\n", id="numbers as written"),
    pytest.param('price,rating\n"7.5"," 3 "{}\n"1",2{}\n', id="numbers in quotes"),
    pytest.param("id,price,rating,v\n00123,7.5,3,4.0{}\n-0,1,2,1e5{}\n", id="numbers carried"),
    pytest.param("n,rating,price\n'x',3,7.5{}\n,2,1{}\n", id="other order"),
    pytest.param('n,price,rating\n"a,""b""",7.5,3{}\n"",1,2{}\n', id="quotes carried"),
    pytest.param('n,price,rating\n"a\n\r\nb",7.5,3{}\n"\r",1,2{}\n', id="line breaks carried"),
    pytest.param('n,price,rating\na"b",7.5,3{}\n"a"b,1,2{}\n', id="stray quotes"),
    pytest.param("n,price,rating\n\udcff\udcfe,7.5,3{}\n\udce9t\udce9,1,2{}\n", id="no UTF-8"),
    pytest.param("n,price,rating\n\0,7.5,3{}\na\0b,1,2{}\n", id="NUL carried"),
    pytest.param("n, rating,price,rating\n =1+1 ,x,7.5,3{}\n,y,1,2{}\n", id="near names beside"),
    pytest.param(",,price,rating,\n,,7.5,3,{}\n ,,1,2,{}\n", id="columns without a name"),
]


@pytest.mark.parametrize("table", CARRIED)
def test_the_input_is_carried_byte_for_byte(score: Score, predictor: Predictor, table: str) -> None:
    """Records are carried byte for byte, with predictions appended."""
    end = "\r\n" if "g\r\n" in table or "v\r\n" in table else "\r" if "g\r" in table else "\n"
    data = table.replace("{}", "").encode(errors="surrogateescape")
    first, second = (answer(predictor, 7.5, 3).decode(), answer(predictor, 1, 2).decode())
    text = table.format(first, second)
    header, line_break, rest = text.partition(end)
    text = f"{header},label,probability{line_break}{rest}"
    text += "" if text.endswith(("\n", "\r")) else end
    out, summary = score(data)
    assert out == text.encode(errors="surrogateescape")
    assert summary.scored == 2


DIRTY = b"""\
name,price,rating
good,7.5,3
short,7.5
long,7.5,3,4
,,3
blank, ,3
text,7.5,many
"quoted
text","x""y",3
comma,"7,5",3
nan,nan,3
inf,7.5,-Infinity
huge,1e39,3
bytes,7.5,\xff3
"short
and \xff"
last,1,2
"""

REASONS = {
    "not a number": 3,
    "missing value": 2,
    "NaN or infinity": 2,
    "too few fields": 2,
    "too many fields": 1,
    "out of float32's range": 1,
    "undecodable bytes": 1,
}


def test_dirty_rows_are_refused_with_where_and_why(score: Score, tmp_path: Path) -> None:
    """By default the message has the first ten bad rows, the total and the options."""
    with pytest.raises(BadRowsError) as caught:
        score(DIRTY)
    assert str(caught.value).splitlines() == [
        f"{tmp_path}/in.csv: 12 of 14 rows cannot be scored; {tmp_path}/out.csv was not written",
        "  record 2 (line 3): too few fields (2 instead of 3)",
        "  record 3 (line 4): too many fields (4 instead of 3)",
        "  record 4 (line 5), column 'price': '': missing value",
        "  record 5 (line 6), column 'price': ' ': missing value",
        "  record 6 (line 7), column 'rating': 'many': not a number",
        "  record 7 (line 8), column 'price': 'x\"y': not a number",
        "  record 8 (line 10), column 'price': '7,5': not a number",
        "  record 9 (line 11), column 'price': 'nan': NaN or infinity",
        "  record 10 (line 12), column 'rating': '-Infinity': NaN or infinity",
        "  record 11 (line 13), column 'price': '1e39': out of float32's range",
        "  … and 2 more",
        'there is text in another encoding: give its encoding, such as encoding="cp1252"',
        'fix them, or continue with bad_rows="reject" or bad_rows="null"',
    ]
    assert names(tmp_path) == ["in.csv"]


def test_dirty_rows_are_listed_beside_the_output(
    score: Score, predictor: Predictor, tmp_path: Path
) -> None:
    """``reject`` scores the good rows and lists the others with their original text."""
    out, summary = score(DIRTY, Options(bad_rows="reject"))
    good, last = answer(predictor, 7.5, 3), answer(predictor, 1, 2)
    assert out == (
        b"name,price,rating,label,probability\ngood,7.5,3" + good + b"\nlast,1,2" + last + b"\n"
    )
    assert summary.rejects == tmp_path / "out.csv.rejects.csv"
    assert summary.rejects.read_bytes() == (
        b"record,line,column,value,reason,text\n"
        b'2,3,,,too few fields (2 instead of 3),"short,7.5"\n'
        b'3,4,,,too many fields (4 instead of 3),"long,7.5,3,4"\n'
        b'4,5,price,,missing value,",,3"\n'
        b'5,6,price, ,missing value,"blank, ,3"\n'
        b'6,7,rating,many,not a number,"text,7.5,many"\n'
        b'7,8,price,"x""y",not a number,"""quoted\ntext"",""x""""y"",3"\n'
        b'8,10,price,"7,5",not a number,"comma,""7,5"",3"\n'
        b'9,11,price,nan,NaN or infinity,"nan,nan,3"\n'
        b'10,12,rating,-Infinity,NaN or infinity,"inf,7.5,-Infinity"\n'
        b'11,13,price,1e39,out of float32\'s range,"huge,1e39,3"\n'
        b'12,14,rating,\\xff3,undecodable bytes,"bytes,7.5,\xff3"\n'
        b'13,15,,,too few fields (1 instead of 3),"""short\nand \xff"""\n'
    )
    assert (summary.rows, summary.scored, summary.rejected) == (14, 2, 12)
    assert summary.reasons == REASONS


def test_dirty_rows_are_kept_in_place(score: Score, predictor: Predictor) -> None:
    """``null`` keeps all rows in order, bad ones with empty predictions and a reason."""
    out, summary = score(DIRTY, Options(bad_rows="null", prefix="m_"))
    good, last = answer(predictor, 7.5, 3) + b",", answer(predictor, 1, 2) + b","
    assert out == (
        b"name,price,rating,m_label,m_probability,m_reason\n"
        b"good,7.5,3" + good + b"\n"
        b"short,7.5,,,,too few fields (2 instead of 3)\n"
        b'long,7.5,3,,,"too many fields (4 instead of 3), extra fields: 4"\n'
        b",,3,,,price: missing value\n"
        b"blank, ,3,,,price: missing value\n"
        b"text,7.5,many,,,rating: not a number\n"
        b'"quoted\ntext","x""y",3,,,price: not a number\n'
        b'comma,"7,5",3,,,price: not a number\n'
        b"nan,nan,3,,,price: NaN or infinity\n"
        b"inf,7.5,-Infinity,,,rating: NaN or infinity\n"
        b"huge,1e39,3,,,price: out of float32's range\n"
        b"bytes,7.5,\xff3,,,rating: undecodable bytes\n"
        b'"short\nand \xff",,,,,too few fields (1 instead of 3)\n'
        b"last,1,2" + last + b"\n"
    )
    assert (summary.rows, summary.scored, summary.rejected) == (14, 2, 12)
    assert summary.rejects is None


def test_long_records_keep_their_first_cells_as_written(score: Score) -> None:
    """Extra fields are added to the reason; the other cells are unchanged."""
    data = b'price,rating\n" 1 ",2," ""x"" ",\xff\n1,"2"""\r\n"' + b"9" * 200_000 + b'",,z\n'
    out, _ = score(data, Options(bad_rows="null"))
    assert out.splitlines(keepends=True)[1:] == [
        b'" 1 ",2,,,"too many fields (4 instead of 2), extra fields: "" """"x"""" "",\xff"\n',
        b'1,"2""",,,rating: not a number\r\n',
        b'"' + b"9" * 200_000 + b'",,,,"too many fields (3 instead of 2), extra fields: z"\n',
    ]


def test_every_row_may_be_bad(score: Score, tmp_path: Path) -> None:
    """No good row at all leaves a header, and every record in the list."""
    data = b"price,rating\n" + b"x,1\n1\n" * 5000
    out, summary = score(data, Options(bad_rows="reject"))
    assert out == b"price,rating,label,probability\n"
    assert (summary.rows, summary.scored, summary.rejected) == (10_000, 0, 10_000)
    rejects = (tmp_path / "out.csv.rejects.csv").read_bytes().splitlines()
    assert len(rejects) == 10_001
    assert rejects[-2] == b'9999,10000,price,x,not a number,"x,1"'


def test_a_row_the_model_has_no_answer_for_is_bad(
    make_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    """Rows that overflow in the model have a reason, not NaN."""
    predictor = Predictor(make_bundle(scale=1e6), provider="cpu", check=False)
    source, out = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_bytes(b"price,rating\n1,2\n3e38,3e38\nx,1\n1,3e38\n0,1\n")
    summary = score_file(predictor, source, out, Options(bad_rows="null"))
    lines = out.read_bytes().splitlines()
    assert lines[2] == b"3e38,3e38,,,no finite prediction"
    assert lines[3] == b"x,1,,,price: not a number"
    assert summary.reasons == {"no finite prediction": 2, "not a number": 1}
    assert b"nan" not in out.read_bytes()
    with pytest.raises(BadRowsError, match=r"3 of 5 rows(.|\n)*record 2 \(line 3\): no finite"):
        score_file(predictor, source, out)


def test_refused_rows_stop_the_output(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An output written in place ends before the first bad block."""
    monkeypatch.setattr(driver, "CsvReader", partial(CsvReader, block_size=16))
    source, pipe = tmp_path / "in.csv", tmp_path / "pipe"
    source.write_bytes(b"price,rating\n" + b"1,2\n" * 20 + b"x,2\n" + b"3,4\n" * 2000)
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    with pytest.raises(BadRowsError, match="1 of 2,021 rows"):
        score_file(predictor, source, pipe, Options(threads=4))
    reader.join()
    assert read[0].startswith(b"price,rating,label,probability\n1,2,")
    assert b"3,4," not in read[0]
    assert read[0].count(b"\n1,2,") <= 20


def test_one_column_is_a_table(make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    """A table of one column has no comma to show: blank lines are missing values there."""
    predictor = Predictor(make_bundle(features=["only"]), provider="cpu")
    source, out = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_bytes(b"only\r\n1\r\n\r\n2,3\r\n\n4\r\n\r\n")
    summary = score_file(predictor, source, out, Options(bad_rows="null"))
    one, four = answer(predictor, 1), answer(predictor, 4)
    assert out.read_bytes() == (
        b"only,label,probability,reason\r\n1" + one + b",\r\n,,,only: missing value\r\n"
        b'2,,,"too many fields (2 instead of 1), extra fields: 3"\r\n,,,only: missing value\n4'
        + four + b",\r\n,,,only: missing value\r\n"
    )  # fmt: skip
    assert (summary.rows, summary.scored) == (6, 2)


def test_many_columns_are_a_table(make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    """Three hundred features among three hundred other columns, bound by name."""
    features = [f"f{n}" for n in range(300)]
    predictor = Predictor(make_bundle(features=features), provider="cpu")
    columns = [name for n in range(300) for name in (f"x{n}", f"f{299 - n}")]
    matrix = np.random.default_rng(0).normal(size=(20, 300)).astype(np.float32)
    rows = [",".join(f"x,{row[299 - n]!s}" for n in range(300)) for row in matrix]
    source, out = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("\n".join([",".join(columns), *rows]))
    assert score_file(predictor, source, out).scored == 20
    found = [line.rsplit(",", 2) for line in out.read_text().splitlines()[1:]]
    expected = predictor.predict(matrix)
    assert [record for record, _, _ in found] == rows
    assert [label for _, label, _ in found] == expected.label.tolist()
    numbers = np.array([number for _, _, number in found], dtype=np.float32)
    assert numbers.tobytes() == expected.probability.tobytes()


@pytest.mark.parametrize(
    "name", ['a "b", c', "line\nbreak", "carriage\rreturn", " ", "", "'", "é", "a,b", "=1"]
)
def test_class_names_are_quoted_where_they_must_be(
    make_bundle: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    """Any class name comes out as itself when the output is read back."""
    predictor = Predictor(make_bundle(classes=[name, f"{name}2"]), provider="cpu")
    source, out = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_bytes(b"price,rating\n" + b"".join(b"%d,%d\n" % (n, 9 - n) for n in range(10)))
    score_file(predictor, source, out, Options(proba=True))
    with out.open(newline="", encoding="utf-8") as stream:
        header, *rows = csv.reader(stream)
    assert header[4:] == [f"probability_{name}", f"probability_{name}2"]
    assert len(rows) == 10
    assert {row[2] for row in rows} <= {name, f"{name}2"}


@pytest.mark.parametrize(
    ("header", "options", "taken"),
    [
        (b"price,rating,label", Options(), "label"),
        (b'price,"probability",rating', Options(), "probability"),
        (b"price,rating,probability_yes", Options(proba=True), "probability_yes"),
        (b"price,rating,reason", Options(bad_rows="null"), "reason"),
        (b"price,rating,m_label", Options(prefix="m_"), "m_label"),
    ],
)
def test_a_name_that_is_taken_is_said(
    score: Score, tmp_path: Path, header: bytes, options: Options, taken: str
) -> None:
    """A clash with an existing column is refused; the message suggests ``--prefix``."""
    with pytest.raises(SchemaError, match=f"already has a column '{taken}'; .*prefix=\"TEXT\""):
        score(header + b"\n1,2,3\n", options)
    assert names(tmp_path) == ["in.csv"]


@pytest.mark.parametrize(
    ("header", "options"),
    [
        (b"price,rating,label", Options(prefix="m_")),
        (b"price,rating,probability_yes", Options()),
        (b"price,rating,reason", Options()),
        (b"price,rating,reason", Options(bad_rows="reject")),
        (b"price,rating,Label", Options()),
    ],
)
def test_a_name_that_is_not_needed_is_free(score: Score, header: bytes, options: Options) -> None:
    """Only columns that are written can clash."""
    assert score(header + b"\n1,2,3\n", options)[1].scored == 1


def same(path: Path) -> Path:
    """The path itself."""
    return path


def linked(path: Path) -> Path:
    """A symbolic link to it."""
    (path.parent / "link.csv").symlink_to(path)
    return path.parent / "link.csv"


def hard_linked(path: Path) -> Path:
    """A second name of the same file."""
    (path.parent / "hard.csv").hardlink_to(path)
    return path.parent / "hard.csv"


def roundabout(path: Path) -> Path:
    """Another way to write the same path."""
    (path.parent / "sub").mkdir()
    return path.parent / "sub" / ".." / path.name


@pytest.mark.parametrize("other", [same, linked, hard_linked, roundabout])
@pytest.mark.parametrize("as_rejects", [False, True], ids=["out", "rejects"])
def test_the_input_is_never_written(
    predictor: Predictor, tmp_path: Path, other: Callable[[Path], Path], *, as_rejects: bool
) -> None:
    """An output that is the input, under any name, is refused."""
    source = tmp_path / "in.csv"
    source.write_bytes(b"price,rating\n1,2\n")
    target = other(source)
    out = tmp_path / "out.csv" if as_rejects else target
    options = Options(bad_rows="reject", rejects=target if as_rejects else None)
    with pytest.raises(UsageError, match="is the input"):
        score_file(predictor, source, out, options)
    assert source.read_bytes() == b"price,rating\n1,2\n"
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("other", [same, linked, hard_linked, roundabout])
@pytest.mark.parametrize("exists", [False, True], ids=["new", "existing"])
def test_two_outputs_need_two_files(
    predictor: Predictor, tmp_path: Path, other: Callable[[Path], Path], *, exists: bool
) -> None:
    """The list of bad rows may not replace the output."""
    source, out = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_bytes(b"price,rating\n1,2\n")
    if exists or other is hard_linked:
        out.write_bytes(b"old")
    with pytest.raises(UsageError, match="is written twice"):
        score_file(predictor, source, out, Options(bad_rows="reject", rejects=other(out)))


@pytest.mark.parametrize("out", ["-", "device", "pipe"])
def test_a_list_of_bad_rows_needs_a_file(
    predictor: Predictor, null_device: Path, tmp_path: Path, out: str
) -> None:
    """A stream or device has no default rejects file."""
    source, pipe = tmp_path / "in.csv", tmp_path / "pipe"
    source.write_bytes(b"price,rating\n1,2\n")
    os.mkfifo(pipe)
    target = {"-": Path("-"), "device": null_device, "pipe": pipe}[out]
    with pytest.raises(UsageError, match='give out="FILE" or rejects="FILE"'):
        score_file(predictor, source, target, Options(bad_rows="reject"))
    with pytest.raises(UsageError, match='give out="FILE" or rejects="FILE"'):
        score_file(predictor, source, tmp_path / "o", Options(bad_rows="reject", rejects=Path("-")))
    assert not list(null_device.parent.glob(f"{null_device.name}?*"))
    assert names(tmp_path) == ["in.csv", "pipe"]


def test_a_device_may_be_written_with_a_list_beside_it(
    predictor: Predictor, null_device: Path, tmp_path: Path
) -> None:
    """``--out /dev/null --rejects FILE`` is a check of a table."""
    source, rejects = tmp_path / "in.csv", tmp_path / "bad.csv"
    source.write_bytes(b"price,rating\n1,2\nx,2\n")
    options = Options(bad_rows="reject", rejects=rejects)
    assert score_file(predictor, source, null_device, options).rejected == 1
    assert rejects.read_bytes().count(b"\n") == 2
    assert stat.S_ISCHR(null_device.stat().st_mode)


YESTERDAY = b"price,rating,label\n1,2,no\n"


@pytest.mark.parametrize(
    ("data", "error"),
    [
        pytest.param(b"", DataError, id="empty"),
        pytest.param(b"price:rating\n1:2\n", SchemaError, id="other delimiter"),
        pytest.param(b"price,rating\nx,2\n", BadRowsError, id="bad row"),
        pytest.param(b'price,rating\n1,"2\n', DataError, id="open quote"),
        pytest.param("price,rating\n1,2\n".encode("utf-16-le"), DataError, id="UTF-16 unmarked"),
        pytest.param(bytes(range(256)) * 20, DataError, id="binary"),
    ],
)
def test_a_failure_leaves_earlier_results(
    score: Score, tmp_path: Path, data: bytes, error: type[DataError]
) -> None:
    """An existing output is replaced by a complete one or unchanged."""
    (tmp_path / "out.csv").write_bytes(YESTERDAY)
    with pytest.raises(error, match=r"in\.csv|column 'price' is missing"):
        score(data)
    assert (tmp_path / "out.csv").read_bytes() == YESTERDAY
    assert names(tmp_path) == ["in.csv", "out.csv"]


@pytest.mark.parametrize("full", ["out", "rejects"])
def test_a_full_disk_leaves_nothing(
    predictor: Predictor, full_device: Path, tmp_path: Path, full: str
) -> None:
    """Without space for one output none is written; the message names it."""
    source = tmp_path / "in.csv"
    source.write_bytes(b"price,rating\n" + b"x,2\n" * 5000)
    out = full_device if full == "out" else tmp_path / "out.csv"
    rejects = full_device if full == "rejects" else tmp_path / "bad.csv"
    options = Options(bad_rows="reject", rejects=rejects)
    with pytest.raises(DataError, match=f"cannot write {full_device}: No space left on device"):
        score_file(predictor, source, out, options)
    assert names(tmp_path) == ["in.csv"]


@pytest.mark.parametrize("source", ["missing.csv", ".", "in.csv/x", "x" * 300])
def test_a_source_that_cannot_be_read_is_said(
    predictor: Predictor, tmp_path: Path, source: str
) -> None:
    """A missing file, a folder or an impossible name is one message."""
    (tmp_path / "in.csv").write_bytes(b"price,rating\n")
    with pytest.raises(DataError, match=r"cannot read .*; give the path of a table"):
        score_file(predictor, tmp_path / source, tmp_path / "out.csv")
    assert names(tmp_path) == ["in.csv"]


def test_a_pipe_can_be_read(predictor: Predictor, products: bytes, tmp_path: Path) -> None:
    """A named pipe with small writes is scored like a file."""
    pipe, out = tmp_path / "pipe", tmp_path / "out.csv"
    os.mkfifo(pipe)

    def feed() -> None:
        with pipe.open("wb", buffering=0) as stream:
            for at in range(0, len(products), 701):
                stream.write(products[at : at + 701])

    writer = threading.Thread(target=feed)
    writer.start()
    summary = score_file(predictor, pipe, out)
    writer.join()
    (tmp_path / "in.csv").write_bytes(products)
    score_file(predictor, tmp_path / "in.csv", tmp_path / "expected.csv")
    assert summary.rows == 200
    assert out.read_bytes() == (tmp_path / "expected.csv").read_bytes()


def test_progress_is_told_in_bytes_and_rows(
    predictor: Predictor, products: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Progress increases after each block, up to the total."""
    monkeypatch.setattr(driver, "CsvReader", partial(CsvReader, block_size=1000))
    (tmp_path / "in.csv").write_bytes(products)
    told: list[tuple[int, int]] = []
    score_file(
        predictor,
        tmp_path / "in.csv",
        tmp_path / "out.csv",
        on_progress=lambda *numbers: told.append(numbers),
    )
    assert told == sorted(told)
    assert len(told) > 3
    assert told[-1] == (len(products), 200)


def test_an_unknown_policy_is_refused() -> None:
    """An unknown policy is refused."""
    with pytest.raises(UsageError, match="rejct"):
        Options(bad_rows="rejct")  # type: ignore[arg-type]  # the slip


def test_a_list_of_rejects_needs_its_policy() -> None:
    """``--rejects`` without ``--bad-rows reject`` would be ignored."""
    with pytest.raises(UsageError, match='bad_rows="reject"'):
        Options(rejects=Path("bad.csv"))
