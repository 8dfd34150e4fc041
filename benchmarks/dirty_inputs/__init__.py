"""Dirty inputs, each with its expected result: ``CATALOGUE``."""

from dirty_inputs.columnar import COLUMNAR as _COLUMNAR
from dirty_inputs.json_lines import JSON_LINES as _JSON_LINES
from dirty_inputs.numbers import NUMBERS as _NUMBERS
from dirty_inputs.places import PLACES as _PLACES
from dirty_inputs.text import DELIMITERS, ENCODINGS, FIELDS, LINE_ENDS, QUOTES
from dirty_inputs.whole_files import COMPRESSED, FILES, HEADERS

CATALOGUE = (
    *FILES,
    *COMPRESSED,
    *HEADERS,
    *ENCODINGS,
    *DELIMITERS,
    *LINE_ENDS,
    *QUOTES,
    *FIELDS,
    *_NUMBERS,
    *_JSON_LINES,
    *_COLUMNAR,
    *_PLACES,
)
