"""The schema: which columns a model reads, by name, and which classes it predicts."""

from __future__ import annotations

import datetime as dt
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from runtime.errors import SchemaError
from runtime.printable import list_first
from runtime.schema.distribution import category_shares_error, distribution_error
from runtime.schema.names import fold_name, missing_columns_message, repeated_names
from runtime.value import Record

if TYPE_CHECKING:
    from collections.abc import Sequence


Float32Matrix = npt.NDArray[np.float32]
Unseen = Literal["error", "other"]
Missing = Literal["refused", "imputed"]
Kind = Literal["number", "date", "boolean", "categories"]
BOOLEANS: Final = frozenset({"true", "false"})
_MAX_FLOAT32: Final = (2 - 2.0**-23) * 2.0**127


class OneHot(Record, frozen=True):
    """One-hot encoding of a column of categories: one input per category, 1 for its text, else 0.

    Attributes:
        categories: in the order of the model's inputs; the empty text is a missing cell.
        unseen: any other text is a bad cell (``error``), or 0 in all inputs (``other``); one that
            only writes a category in another way, such as ``2.0`` for ``2``, is always a bad cell.
        rare: the number of training categories that were too rare to have an input and are encoded
            as unseen ones are; unset if none were.
        folded: whether case and surrounding blanks make no difference; unset if they do.

    Raises:
        ValueError: when there are no categories, one is repeated, or rare ones would be bad
            cells.
    """

    categories: tuple[str, ...]
    unseen: Unseen = "error"
    rare: int | msgspec.UnsetType = msgspec.UNSET
    folded: bool | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        if not self.categories:
            raise ValueError("a column of categories needs at least one category")
        if duplicates := repeated_names(self.categories):
            raise ValueError(f"categories appear twice: {list_first(duplicates)}")
        if self.rare is not msgspec.UNSET and (self.rare < 1 or self.unseen != "other"):
            raise ValueError(f"{self.rare} rare categories, with unseen ones as {self.unseen}")


class Date(Record, frozen=True):
    """Encoding of a column of dates as fractional days since an origin.

    float32 represents whole days exactly; a time of day has a relative error of 2⁻²⁴: a second
    within 128 days of the origin, 11 seconds within ten years.

    Attributes:
        origin: an ISO date such as 2024-12-31, midnight UTC; the first day of the training table.
        unit: of the numbers.
        format: of the cells, see ``runtime.schema.date_formats``; unset for ISO 8601.

    Raises:
        ValueError: when ``origin`` is not an ISO date, or the format is not known.
    """

    origin: str
    unit: Literal["day"] = "day"
    format: str | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        if self.format is not msgspec.UNSET:
            from runtime.schema.date_formats import EPOCHS, date_pattern

            if self.format not in EPOCHS:
                date_pattern(self.format)
        try:
            is_date = dt.date.fromisoformat(self.origin).isoformat() == self.origin
        except ValueError:
            is_date = False
        if not is_date:
            raise ValueError(f"the origin of dates is {self.origin!r}, not like 2024-12-31")


class Feature(Record, frozen=True):
    """One column of a table: numbers, dates or categories.

    Attributes:
        name: of the column, matched exactly.
        minimum: smallest training value, in the unit of the column; of dates, in days since their
            origin, like all figures here.
        maximum: largest training value.
        dtype: of the model's input.
        missing: an empty cell of numbers or dates is a bad cell (``refused``), or NaN, which the
            model imputes (``imputed``).
        quantiles: deciles of the training rows, 0 to 100 %; empty if unknown.
        shares: of the training rows in each bin of ``distribution.bin_edges(quantiles)``, 0 to 1;
            of categories, those with each, whose sum is below 1 if there were others; empty if
            unknown.
        one_hot: encoding of a column of categories, which has minimum 0 and maximum 1; else unset.
        date: encoding of a column of dates; else unset.
        missing_texts: texts that mean a missing cell, beside the empty one and blanks; those of a
            number or date do so in every spelling and type; unset without any.

    Raises:
        ValueError: when the name is empty, ``minimum`` exceeds ``maximum``, the distribution is
            inconsistent, categories are combined with dates, quantiles or missing cells, or a
            missing text is empty or a category.
    """

    name: str
    minimum: float
    maximum: float
    dtype: Literal["float32"] = "float32"
    missing: Missing = "refused"
    quantiles: tuple[float, ...] = ()
    shares: tuple[float, ...] = ()
    one_hot: OneHot | msgspec.UnsetType = msgspec.UNSET
    date: Date | msgspec.UnsetType = msgspec.UNSET
    missing_texts: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("a feature needs a name")
        if not self.minimum <= self.maximum:
            raise ValueError(f"feature {self.name!r}: minimum {self.minimum} > {self.maximum}")
        # An int passed from Python serializes as the float it is read back as.
        msgspec.structs.force_setattr(self, "minimum", float(self.minimum))
        msgspec.structs.force_setattr(self, "maximum", float(self.maximum))
        msgspec.structs.force_setattr(self, "quantiles", tuple(map(float, self.quantiles)))
        msgspec.structs.force_setattr(self, "shares", tuple(map(float, self.shares)))
        is_unit_range = (self.minimum, self.maximum, self.quantiles) == (0.0, 1.0, ())
        if self.categories and (not is_unit_range or self.missing != "refused"):
            raise ValueError(
                f"feature {self.name!r}: categories need minimum 0 and maximum 1, no quantiles and "
                "no imputed cells"
            )
        if self.categories and self.origin:
            raise ValueError(f"feature {self.name!r}: a column holds categories or dates, not both")
        if not all(self.texts_of_missing) or set(self.texts_of_missing) & set(self.categories):
            raise ValueError(f"feature {self.name!r}: a missing text is empty or a category")
        if self.quantiles or self.shares:
            self._check_distribution()

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories; empty for a column of numbers or dates."""
        return () if self.one_hot is msgspec.UNSET else self.one_hot.categories

    @property
    def kind(self) -> Kind:
        """What the column holds."""
        if self.is_boolean:
            return "boolean"
        return "categories" if self.categories else "date" if self.origin else "number"

    @property
    def is_constant(self) -> bool:
        """Whether all training rows had the same value or category."""
        if self.categories:
            return len(self.categories) == 1 and sum(self.shares[:1] or (1.0,)) == 1.0
        return self.minimum == self.maximum

    @property
    def is_boolean(self) -> bool:
        """Whether the categories are ``true`` and ``false``, in whatever case; none was joined."""
        if self.one_hot is msgspec.UNSET or self.one_hot.rare is not msgspec.UNSET:
            return False
        texts = [text.lower() for text in self.categories if text]
        return bool(texts) and len(set(texts)) == len(texts) and set(texts) <= BOOLEANS

    @property
    def is_folded(self) -> bool:
        """Whether case and surrounding blanks of categories make no difference."""
        return self.one_hot is not msgspec.UNSET and self.one_hot.folded is True

    @property
    def most_frequent(self) -> str:
        """The most frequent category of the training rows that is not missing; empty if unknown."""
        shares = zip(self.categories, self.shares, strict=False)
        return max(((share, text) for text, share in shares if text), default=(0, ""))[1]

    @property
    def origin(self) -> str:
        """The origin of a column of dates; empty for others."""
        return "" if self.date is msgspec.UNSET else self.date.origin

    @property
    def date_format(self) -> str:
        """The format of the cells of a column of dates; empty for ISO 8601."""
        if self.date is msgspec.UNSET or self.date.format is msgspec.UNSET:
            return ""
        return self.date.format

    @property
    def texts_of_missing(self) -> tuple[str, ...]:
        """The texts that mean a missing cell; empty if there are only empty cells."""
        return () if self.missing_texts is msgspec.UNSET else self.missing_texts

    @property
    def missing_numbers(self) -> tuple[float, ...]:
        """In a column of numbers, those that mean a missing cell, however they are written."""
        if not self.texts_of_missing or self.kind != "number":
            return ()
        from runtime.schema.numbers import number_key

        found = (number_key(text) for text in self.texts_of_missing)
        numbers = (float(number) for number in found if number is not None)
        return tuple(number for number in numbers if abs(number) <= _MAX_FLOAT32)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the model's inputs that encode the column."""
        return tuple(f"{self.name}={text}" for text in self.categories) or (self.name,)

    def _check_distribution(self) -> None:
        if self.categories:
            if error := category_shares_error(self.shares, len(self.categories)):
                raise ValueError(f"feature {self.name!r}: {error}")
            return
        error = distribution_error(
            self.quantiles, self.shares, minimum=self.minimum, maximum=self.maximum
        )
        if error:
            raise ValueError(f"feature {self.name!r}: {error}")


class Schema(Record, frozen=True, dict=True):
    """The features that a model reads, in order, and the classes it predicts.

    Tables hold ``features``; ``runtime.encoding`` encodes them as ``inputs``, the columns of the
    model's matrix. A number or date is one input of the same name. Derived values are cached:
    serving reads them in every request.

    Attributes:
        target: name of the column that the model predicts.
        features: columns of a table, in the order of the model's inputs.
        classes: class names, in the order of the model's outputs.

    Raises:
        ValueError: when there are no features, less than two classes, or repeated names.
    """

    target: str
    features: tuple[Feature, ...]
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.features:
            raise ValueError("a schema needs at least one feature")
        if len(self.classes) < 2:  # noqa: PLR2004 - a classifier has at least two
            raise ValueError("a schema needs at least two classes")
        for kind, names in (("feature", self.feature_names), ("class", self.classes)):
            if duplicates := repeated_names(names):
                raise ValueError(f"{kind} names appear twice: {list_first(duplicates)}")

    @cached_property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features."""
        return tuple(feature.name for feature in self.features)

    @property
    def n_features(self) -> int:
        """Number of features."""
        return len(self.features)

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """Names of the model's inputs, the columns of its matrix."""
        return tuple(name for feature in self.features for name in feature.inputs)

    @cached_property
    def n_inputs(self) -> int:
        """Number of the model's inputs."""
        return sum(len(feature.categories) or 1 for feature in self.features)

    @cached_property
    def spans(self) -> tuple[slice, ...]:
        """Slice of the model's inputs that encodes each feature."""
        ends = list(accumulate((len(feature.inputs) for feature in self.features), initial=0))
        return tuple(map(slice, ends, ends[1:]))

    @cached_property
    def numeric_features(self) -> dict[int, Feature]:
        """Features of numbers and dates, by the index of their input."""
        spans = zip(self.spans, self.features, strict=True)
        return {span.start: feature for span, feature in spans if not feature.categories}

    @cached_property
    def imputed_inputs(self) -> tuple[int, ...]:
        """Indices of the inputs that may be NaN, which the model imputes."""
        features = self.numeric_features.items()
        return tuple(index for index, feature in features if feature.missing == "imputed")

    @cached_property
    def missing_numbers(self) -> dict[int, tuple[float, ...]]:
        """Numbers that mean a missing value, by the index of their feature's input."""
        features = self.numeric_features.items()
        return {at: numbers for at, feature in features if (numbers := feature.missing_numbers)}

    @cached_property
    def is_numeric(self) -> bool:
        """Whether every feature is a number, neither a category nor a date."""
        return not any(feature.categories or feature.origin for feature in self.features)

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    def bind(self, columns: Sequence[str], *, loose: bool | None = False) -> tuple[int, ...]:
        """Find the features among a table's columns, by name.

        Args:
            columns: the table's column names, in its order.
            loose: match as ``fold_name`` does where no name matches exactly; None where that is
                no option, which messages then do not advise.

        Returns:
            Index of each feature in ``columns``.

        Raises:
            SchemaError: when a feature's column is missing (the message suggests similar names),
                appears twice, or a loose match is ambiguous.
        """
        known, found = set(self.feature_names), set(columns)
        duplicates = repeated_names([name for name in columns if name in known])
        matches = self._loose_matches(columns)
        missing = [
            name
            for name in self.feature_names
            if name not in found and not (loose and len(matches[name]) == 1)
        ]
        if missing:
            found_loosely = {name: matches[name] for name in missing}
            raise SchemaError(
                missing_columns_message(found_loosely, columns, can_be_loose=loose is not None)
            )
        if duplicates:
            raise SchemaError(
                f"column {duplicates[0]!r} appears {columns.count(duplicates[0])} times; "
                "rename or drop all but one"
            )
        bound = tuple(
            columns.index(name) if name in found else matches[name][0]
            for name in self.feature_names
        )
        if shared := repeated_names([columns[index] for index in bound]):
            raise SchemaError(
                f"column {shared[0]!r} matches more than one feature when case and blanks are "
                "ignored; rename the columns to the features' exact names"
            )
        return bound

    def _loose_matches(self, columns: Sequence[str]) -> dict[str, list[int]]:
        """Indices of the columns that match each feature loosely."""
        indices: dict[str, list[int]] = {}
        known = set(self.feature_names)
        for index, column in enumerate(columns):
            if column not in known:
                indices.setdefault(fold_name(column), []).append(index)
        return {name: indices.get(fold_name(name), []) for name in self.feature_names}

    def to_json(self) -> str:
        """Serialize the schema as one line of JSON with a fixed key order."""
        return msgspec.json.encode(self).decode()
