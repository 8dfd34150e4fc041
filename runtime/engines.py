"""Which release of onnxruntime runs which ONNX file.

In: the opset and IR version of a file. Out: the oldest release that loads it. No errors.
"""

from __future__ import annotations

from typing import Final

# Releases with the newest opset and IR version that each loads, oldest first. Measured: the
# exported graph, stamped with each opset and IR version, loaded by each release.
ENGINES: Final = (
    ("1.17", 20, 9),
    ("1.18", 21, 10),
    ("1.22", 22, 10),
    ("1.23", 23, 11),
    ("1.31", 26, 13),
)


def oldest_engine(opset: int, ir: int) -> str | None:
    """Name the oldest onnxruntime that is known to load a file.

    Args:
        opset: of the standard operators.
        ir: version of the format.

    Returns:
        For example ``1.18``; None where none is known.
    """
    for release, newest_opset, newest_ir in ENGINES:
        if opset <= newest_opset and ir <= newest_ir:
            return release
    return None
