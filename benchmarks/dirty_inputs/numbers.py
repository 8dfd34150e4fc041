"""Cells that are numbers, look like numbers, or are not numbers."""

from __future__ import annotations

from dirty_inputs.dirty_input import DirtyInput, between, rows_between

_NO, _MISSING = "not a number", "missing value"
_NOT_FINITE, _RANGE = "NaN or infinity", "out of float32's range"
_GOOD: dict[str, float] = {
    " 6.5 ": 6.5, "\t6.5": 6.5, "+6.5": 6.5, "006.5": 6.5, ".5": 0.5, "5.": 5.0, "1e1": 10.0, "65E-1": 6.5,
    "-0": -0.0, "4.9e-324": 0.0, "1e-40": 1e-40, "3.4028235e38": 3.4028235e38,
    "0." + "0" * 300 + "1": 0.0, "6.5" + "0" * 300: 6.5, "16777217": 16777217.0,
    "0.1": 0.1,
}  # fmt: skip
_BAD: dict[str, str] = {
    "": _MISSING, "  ": _MISSING, "NA": _NO, "NULL": _NO, "None": _NO, "-": _NO, "?": _NO, ".": _NO,
    "#N/A": _NO, "#DIV/0!": _NO, "n/a": _NO, "nan": _NOT_FINITE, "NaN": _NOT_FINITE,
    "inf": _NOT_FINITE, "Infinity": _NOT_FINITE, "-inf": _NOT_FINITE, "∞": _NO,
    "1E400": _RANGE, "1e39": _RANGE, "3.4028236e38": _RANGE, "9" * 300: _RANGE, "-1e39": _RANGE,
    "0x10": _NO, "1_000": _NO, "1 000": _NO, "1'000": _NO, "1\u00a0000": _NO, "\u00a06.5": _NO,
    "6.5\u00a0": _NO, "٦٥": _NO, "６.５": _NO, "\u22126.5": _NO, "–6.5": _NO, "6·5": _NO,
    "TRUE": _NO, "yes": _NO, "2026-01-31": _NO, "12:30": _NO, "$6.5": _NO, "6.5 €": _NO, "65%": _NO,
    "6.5f": _NO, "6.5d0": _NO, "6.5kg": _NO, "6.5.1": _NO, "--6": _NO, "6-": _NO, "(6.5)": _NO,
    "1e": _NO, "e5": _NO, "1e5.5": _NO, "=6+1": _NO, "½": _NO, "Ⅵ": _NO, "\ufeff6.5": _NO,
    "6.5\u200b": _NO, "nan(1)": _NOT_FINITE, "1.5e+": _NO, "7*3": _NO, "six": _NO, "~6.5": _NO,
}  # fmt: skip


def _shown(cell: str) -> str:
    text = ascii(cell)[1:-1] if not cell.isprintable() or cell.strip() != cell else cell
    return text if len(text) <= 16 else f"{text[:12]}… ({len(cell)} characters)"


NUMBERS = (
    *(
        DirtyInput("number", f"`{_shown(cell)}`", between(f"2,{cell},4"), rows_between((value, 4.0)))
        for cell, value in _GOOD.items()
    ),
    *(
        DirtyInput("no number", f"`{_shown(cell)}`", between(f"2,{cell},4"), rows_between(reason))
        for cell, reason in _BAD.items()
    ),
    DirtyInput("no number", '`"1,000"`', between('2,"1,000",4'), rows_between(_NO)),
    DirtyInput("no number", '`"1.000,5"`', between('2,"1.000,5",4'), rows_between(_NO)),
    DirtyInput(
        "no number", "thousands separators in every row",
        b'price,rating\n"1,234,567",3\n"1,234.5",4\n', (_NO, _NO), "thousands separators",
    ),
    DirtyInput("no number", "2 MiB of digits", between("2," + "9" * 2**21 + ",4"), rows_between(_RANGE)),
    DirtyInput("no number", "2 MiB of letters", between("2," + "x" * 2**21 + ",4"), rows_between(_NO)),
)  # fmt: skip
