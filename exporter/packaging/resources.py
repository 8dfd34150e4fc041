"""Measure the memory that a server of a model needs, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import runtime
from runtime.bundle.manifest import MANIFEST
from runtime.errors import ArtifactError

if TYPE_CHECKING:
    from runtime.bundle.reading import BundleFiles

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
sys.path.append(sys.argv[4])
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


def measure_memory(bundle: BundleFiles) -> Memory:
    """Load a bundle, run the largest request that its server accepts, and read the peak.

    What is loaded are the files that were read and verified, not those that may have come since.

    Raises ``ArtifactError`` when it cannot be loaded on this machine.
    """
    with TemporaryDirectory(prefix="onnxferry-") as folder:
        for name, content in {**bundle.files, MANIFEST: bundle.content}.items():
            Path(folder, name).write_bytes(content)
        ours = Path(str(runtime.__file__)).parent.parent
        arguments = [folder, str(MAX_ROWS), str(MAX_BODY_MIB * _MIB), str(ours)]
        done = subprocess.run(  # noqa: S603 - our own program
            # -P: a numpy.py in the working directory is none of ours.
            [sys.executable, "-P", "-c", _PROGRAM, *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        why = next(reversed(done.stderr.strip().splitlines()), "").replace(folder, str(bundle.path))
        raise ArtifactError(
            f"cannot load {bundle.path} to measure its memory: {why}; see runtime verify"
        )
    peak = int(done.stdout) // 1024 + _SERVER_MIB
    request = -(-peak // _STEP_MIB) * _STEP_MIB
    return Memory(request, request + BUFFERED_MIB)
