"""Files of a run as bytes and tensors, proven before they are used.

In: a path and what the record says of it. Out: bytes or tensors, or an ``ArtifactError`` that
names the file. Links are not followed and nothing is unpickled.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from safetensors import SafetensorError
from safetensors.torch import load

from runtime.bundle.reading import digest
from runtime.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from runtime.bundle.manifest import File

Shapes = dict[str, tuple[int, ...]]


def read_file(path: Path, *, limit: int) -> bytes:
    """Read a regular file; a link is refused, not followed.

    Args:
        path: the file.
        limit: bytes; a larger file is not read.

    Returns:
        Its content.

    Raises:
        ArtifactError: when it is missing, unreadable, too large or no regular file.
    """
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise damaged(path, "it is not a regular file")
        if status.st_size > limit:
            raise damaged(path, f"it has {status.st_size} bytes, at most {limit} expected")
        return path.read_bytes()
    except FileNotFoundError as exc:
        raise ArtifactError(f"{path} is missing: make the run with `trainer fit`") from exc
    except OSError as exc:
        raise ArtifactError(f"cannot read {path}: {exc.strerror}") from exc


def read_tensors(path: Path, expected: File) -> dict[str, torch.Tensor]:
    """Read a safetensors file whose digest is known.

    Args:
        path: the file.
        expected: digest and size that its content must have.

    Returns:
        The tensors by name, on the CPU.

    Raises:
        ArtifactError: when the content differs or is no safetensors.
    """
    content = read_file(path, limit=expected.size)
    if digest(content) != expected:
        raise damaged(path, "its size or SHA-256 differs from the record's")
    try:
        return load(content)
    except (SafetensorError, KeyError, ValueError) as exc:  # KeyError: a dtype torch lacks
        raise damaged(path, f"no readable safetensors ({exc})") from exc


def check_tensors(
    found: dict[str, torch.Tensor],
    shapes: Shapes,
    dtypes: dict[str, torch.dtype],
    where: Path,
) -> None:
    """Compare names, shapes and dtypes with what the record calls for.

    Args:
        found: the tensors of a file.
        shapes: expected shape of each tensor, by name.
        dtypes: expected dtype of each tensor, by name.
        where: the file, for messages.

    Raises:
        ArtifactError: when anything differs; the message lists all of it.
    """
    wrong = [f"{name} is unexpected" for name in sorted(found.keys() - shapes.keys())]
    wrong += [f"{name} is missing" for name in sorted(shapes.keys() - found.keys())]
    for name in sorted(found.keys() & shapes.keys()):
        got = (tuple(found[name].shape), found[name].dtype)
        if got != (shapes[name], dtypes[name]):
            wrong.append(
                f"{name} is {got[1]} {got[0]}, the record calls for {dtypes[name]} {shapes[name]}"
            )
    if wrong:
        raise damaged(where, "; ".join(wrong))


def damaged(path: Path, reason: str) -> ArtifactError:
    """The error for a file that is not what it should be."""
    return ArtifactError(f"{path} is damaged: {reason}; run `trainer fit` again")
