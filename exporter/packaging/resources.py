"""Measure the memory that a server of a model needs, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from runtime.errors import ArtifactError

if TYPE_CHECKING:
    from runtime.io.paths import Location

_MIB: Final = 1024 * 1024
_STEP_MIB: Final = 32  # two machines whose figures differ a little write the same files
_SERVER_MIB: Final = 32  # its HTTP and its event loop, beside the model
# The defaults of `runtime serve`, which tests/exporter/packaging compares.
MAX_ROWS: Final = 262_144
MAX_BODY_MIB: Final = 16
BUFFERED_MIB: Final = 256
_PROGRAM: Final = """
import resource, sys
from pathlib import Path
import numpy as np
from runtime.predictor import Predictor

predictor = Predictor(sys.argv[1], provider="cpu")
width = predictor.schema.n_inputs
predictor.run(np.zeros((min(int(sys.argv[2]), int(sys.argv[3]) // (4 * width)), width), np.float32))
try:
    lines = Path("/proc/self/status").read_text().splitlines()
    print(next(line.split()[1] for line in lines if line.startswith("VmHWM:")))
except OSError:  # not Linux: bytes on macOS
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@dataclass(frozen=True)
class Memory:
    """Memory of a server, MiB.

    Attributes:
        request: with the model loaded and the largest request answered.
        limit: with all the bodies that it buffers at once.
    """

    request: int
    limit: int


def measure_memory(bundle: Location) -> Memory:
    """Load a bundle, run the largest request that its server accepts, and read the peak.

    Raises ``ArtifactError`` when it cannot be loaded on this machine.
    """
    arguments = [str(bundle), str(MAX_ROWS), str(MAX_BODY_MIB * _MIB)]
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", _PROGRAM, *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        why = next(reversed(done.stderr.strip().splitlines()), "")
        raise ArtifactError(
            f"cannot load {bundle} to measure its memory: {why}; see runtime verify"
        )
    peak = int(done.stdout) // 1024 + _SERVER_MIB
    request = -(-peak // _STEP_MIB) * _STEP_MIB
    return Memory(request, request + BUFFERED_MIB)
