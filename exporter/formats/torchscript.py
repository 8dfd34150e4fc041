"""Write and load TorchScript files: the same bytes for the same module in any process."""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from exporter.formats.archive import check_archive
from runtime.errors import ArtifactError, first_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runtime.schema.features import Schema

# Entries that differ between writes or name source files of this machine; not needed for loading.
_VOLATILE = re.compile(r"\.debug_pkl$|/\.data/serialization_id$|/traced_inputs(\.pkl$|/)")
_SERIAL = re.compile(rb"___torch_mangle_(\d+)")
_OPEN_FILES = ("aten::from_file", "aten::save")
_ALIGNMENT = 64  # bytes, as torch aligns tensors in its archives
_LOCAL_HEADER = 30  # bytes of a zip entry's header without name and extra field
_PADDING_ID = b"FB"  # torch's id of its padding


def write_torchscript(model: torch.nn.Module, schema: Schema) -> bytes:
    """Trace a deployed module in evaluation mode and write it as an archive.

    Tracing needs no source code, unlike scripting; what it captured is proven afterwards.
    """
    example = torch.zeros(2, schema.n_inputs)  # (batch, n_inputs)
    buffer = io.BytesIO()
    with _expected_warnings(), torch.no_grad():
        # torch numbers a class unless it is the first of its name in the process: the second
        # trace has a number for every class, so that they can be renumbered.
        for _ in range(2):
            traced = torch.jit.trace(  # type: ignore[no-untyped-call]  # torch leaves it untyped
                model, (example,), check_trace=False
            )
        torch.jit.save(traced, buffer)
    return _normalise(buffer.getvalue())


def load_torchscript(content: bytes, *, where: str) -> torch.jit.ScriptModule:
    """Load an archive onto the CPU, in evaluation mode; ``ArtifactError`` when it opens files."""
    check_archive(content, where=where)
    with _expected_warnings():
        try:
            module: torch.jit.ScriptModule = torch.jit.load(  # type: ignore[no-untyped-call]  # as above
                io.BytesIO(content), "cpu"
            )
        except (RuntimeError, ValueError) as exc:
            raise ArtifactError(
                f"torch cannot load {where}: {first_line(exc)}; export again"
            ) from exc
    if any(node.kind() in _OPEN_FILES for node in _nodes(module.inlined_graph)):
        raise ArtifactError(f"{where} opens a file when it runs; export again")
    return module.eval()


def _nodes(block: Any) -> Iterator[Any]:  # noqa: ANN401 - torch publishes no types for its graphs
    """Yield the nodes of a graph, including those of branches and loops."""
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from _nodes(inner)


@contextmanager
def _expected_warnings() -> Iterator[None]:
    """Suppress torch's deprecation of TorchScript (2.13) and its warnings of every trace."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", r"`torch\.jit\.\w+` is deprecated", category=DeprecationWarning
        )
        # About values that a trace treats as constants: the proof shows whether they are.
        warnings.filterwarnings("ignore", category=torch.jit._trace.TracerWarning)  # noqa: SLF001 - not exported
        yield


def _normalise(archive: bytes) -> bytes:
    """Rewrite an archive without volatile entries, serial numbers counted from 0."""
    serials: dict[bytes, bytes] = {}

    def renumber(match: re.Match[bytes]) -> bytes:
        return serials.setdefault(match[1], b"___torch_mangle_%d" % len(serials))

    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            if _VOLATILE.search(name):
                continue
            content = old.read(name)
            if name.endswith((".py", ".pkl")):
                # Safe in pickles: they write class names as lines, without a length.
                content = _SERIAL.sub(renumber, content)
            renamed = _SERIAL.sub(renumber, name.encode()).decode()
            _write_aligned(new, renamed, content)
    return buffer.getvalue()


def _write_aligned(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    """Add a stored, undated entry whose content starts at a multiple of the alignment."""
    entry = zipfile.ZipInfo(name)  # dated 1980-01-01
    if archive.fp is None:
        raise ValueError("the archive is closed")
    start = archive.fp.tell() + _LOCAL_HEADER + len(name.encode()) + len(_PADDING_ID) + 2
    missing = -start % _ALIGNMENT
    entry.extra = _PADDING_ID + missing.to_bytes(2, "little") + b"Z" * missing
    archive.writestr(entry, content)
