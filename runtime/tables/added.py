"""Arrow types of the columns that scoring adds."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

LABEL: Final = pa.dictionary(pa.int32(), pa.string())
REASON: Final = pa.dictionary(pa.int32(), pa.binary())  # see ``runtime.tables.text.pack_text``
PROBABILITY: Final = pa.float32()
