"""Find a state dict in a file, whatever it is wrapped in, and load it into a module."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeGuard

import torch

from exporter.source.tensor_files import ADVICE, read_tensors
from runtime.errors import ArtifactError
from runtime.printable import printable

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

_MAX_NAMES = 3  # names in a message
_MAX_DEPTH = 3  # keys before a state dict, as in checkpoint["model"]["state_dict"]
# What DataParallel, torch.compile and FSDP put into the names of a submodule that they wrap.
_WRAPPERS = re.compile(
    r"(?<![^.])(?:module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\."
)

Tensors = Mapping[str, torch.Tensor]


def load_weights(model: nn.Module, path: Path, *, name: str) -> str | None:
    """Load a file's weights into a module.

    A state dict may be under a key of a checkpoint, and its names may have a prefix, as those of
    DataParallel, ``torch.compile`` and Lightning have: it is taken where exactly one fits.

    Args:
        model: gets the weights.
        path: a state dict, safetensors or written by ``torch.save``, or the index of its shards.
        name: of the module, for messages.

    Returns:
        What was taken, where that is not the whole file as it is.

    Raises:
        ArtifactError: when the file cannot be read, does not fit, or has several that fit.
    """
    expected = frozenset(model.state_dict())
    taken = _choose(_state_dicts(read_tensors(path), path), expected, path)
    has_storage = not any(each.is_meta for each in (*model.parameters(), *model.buffers()))
    cast = _describe_casts(model, taken.tensors, path) if has_storage else []
    try:
        missing, unexpected = model.load_state_dict(
            taken.tensors, strict=False, assign=not has_storage
        )
    except RuntimeError as exc:  # tensors of other shapes
        reason = " ".join(str(exc).split())
        raise ArtifactError(f"{path} does not fit {name}: {reason}") from exc
    for names, problem in ((missing, "missing"), (unexpected, "unexpected")):
        if names:
            raise ArtifactError(f"{path} does not fit {name}: {problem} {_names(names)}")
    return "; ".join(filter(None, (taken.description, *cast))) or None


def _describe_casts(model: nn.Module, tensors: Tensors, path: Path) -> list[str]:
    """Say which weights loading rounds or widens; ``ArtifactError`` where they are no floats."""
    cast = set()
    for name, own in model.state_dict().items():
        found = tensors.get(name, own)
        if found.dtype == own.dtype:
            continue
        if not (found.is_floating_point() and own.is_floating_point()):
            raise ArtifactError(
                f"{path} has {printable(name)} as {found.dtype}, the model as {own.dtype}: "
                "save the weights in the model's dtype"
            )
        cast.add(f"{found.dtype} taken as {own.dtype}")
    return sorted(cast)


@dataclass(frozen=True)
class _StateDict:
    """Tensors of a file, and where in it they are."""

    tensors: Tensors
    key: str | None = None  # of the checkpoint
    prefix: str = ""  # of their names in the file
    others: tuple[str, ...] = ()  # names beside these, which are left out
    is_unwrapped: bool = False  # without the names of wrappers of submodules
    depth: int = 0  # keys above it

    @property
    def description(self) -> str | None:
        """The part that was loaded, in words; None where it is the whole file."""
        parts = [f"the state dict under {self.key!r}"] if self.key else []
        parts += [f"names without their prefix {self.prefix!r}"] if self.prefix else []
        parts += ["names without those of wrapped submodules"] if self.is_unwrapped else []
        parts += [f"left out: {_names(self.others)}"] if self.others else []
        return "; ".join(parts) or None

    def covers(self, expected: frozenset[str]) -> bool:
        """Whether every expected tensor is there."""
        return bool(expected) and expected <= self.tensors.keys()

    def fitting(self, expected: frozenset[str]) -> list[_StateDict]:
        """Return itself, or the tensors under each prefix, where all expected ones are there."""
        if self.covers(expected):
            return [self]
        some = min(expected, default="")
        prefixes = [name.removesuffix(some) for name in self.tensors if name.endswith(f".{some}")]
        found = [self._without_prefix(prefix) for prefix in prefixes]
        return [each for each in found if each.covers(expected)]

    def unwrapped(self) -> _StateDict:
        """Remove the names that wrappers of submodules add."""
        tensors = {_WRAPPERS.sub("", name): tensor for name, tensor in self.tensors.items()}
        is_same = len(tensors) < len(self.tensors) or tensors.keys() == self.tensors.keys()
        return self if is_same else replace(self, tensors=tensors, is_unwrapped=True)

    def _without_prefix(self, prefix: str) -> _StateDict:
        tensors = {
            name.removeprefix(prefix): tensor
            for name, tensor in self.tensors.items()
            if name.startswith(prefix)
        }
        others = tuple(name for name in self.tensors if not name.startswith(prefix))
        return replace(self, tensors=tensors, prefix=prefix, others=(*others, *self.others))


def _choose(found: list[_StateDict], expected: frozenset[str], path: Path) -> _StateDict:
    """Choose the state dict with the expected names, fewest keys first; else one to refuse."""
    fitting = [fit for each in found for fit in each.fitting(expected)]
    if not fitting:
        fitting = [fit for each in found for fit in each.unwrapped().fitting(expected)]
    nearest = min((fit.depth for fit in fitting), default=0)
    fitting = [fit for fit in fitting if fit.depth == nearest]
    if len(fitting) > 1:
        places = [" ".join(filter(None, (each.key, each.prefix))) for each in fitting]
        raise ArtifactError(
            f"{path} has several state dicts that fit: {_names(places)}; save the one to export"
        )
    return fitting[0] if fitting else found[0]


def _state_dicts(found: object, path: Path) -> list[_StateDict]:
    """Return the state dicts of a file: itself, or those under its keys."""
    if _is_state_dict(found):
        return [_StateDict(found)]
    nonempty: list[_StateDict] = []
    among = _tensors_among(found)
    level: list[tuple[str, object]] = [("", found)]
    for depth in range(_MAX_DEPTH):
        inner = [
            (f"{above}.{key}".removeprefix("."), value)
            for above, outer in level
            if isinstance(outer, Mapping)
            for key, value in outer.items()
        ]
        nonempty += [
            _StateDict(value, key, depth=depth)
            for key, value in inner
            if _is_state_dict(value) and value
        ]
        level = [(key, value) for key, value in inner if not _is_state_dict(value)]
    if not nonempty and not among:
        raise ArtifactError(f"{path} is not a state dict: {ADVICE}")
    return nonempty + among


def _tensors_among(found: object) -> list[_StateDict]:
    """Return the tensors of a mapping that holds other things too, such as ``epoch``."""
    items = found.items() if isinstance(found, Mapping) else ()
    tensors = {
        key: value
        for key, value in items
        if isinstance(key, str) and isinstance(value, torch.Tensor)
    }
    others = tuple(str(key) for key, _ in items if key not in tensors)
    return [_StateDict(tensors, others=others)] if tensors else []


def _is_state_dict(value: object) -> TypeGuard[Tensors]:
    return isinstance(value, Mapping) and all(
        isinstance(key, str) and isinstance(item, torch.Tensor) for key, item in value.items()
    )


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(printable(name) for name in names[:_MAX_NAMES])
    return shown + (" …" if len(names) > _MAX_NAMES else "")
