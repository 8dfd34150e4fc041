"""Bring a model of one's own: a factory, a file of weights and a schema.

In: what the command line names. Out: the module and its schema. A factory that cannot be called
is a ``UsageError``, weights that do not fit an ``ArtifactError``, a schema that is none a
``SchemaError``. The factory is code of the user's and is run; weights are never unpickled.
"""

from __future__ import annotations

import importlib
import pickle
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from runtime.errors import ArtifactError, SchemaError, UsageError
from runtime.schema.features import Schema

if TYPE_CHECKING:
    from torch import nn

_SHOWN = 3  # names of tensors that do not fit


def make_model(factory: str, weights: Path) -> nn.Module:
    """Make a module and load its weights.

    Args:
        factory: ``package.module:name`` of what returns the module when it is called without
            arguments, a class for instance; the working directory is searched first.
        weights: a state dict: ``.safetensors``, or what ``torch.save`` wrote.

    Returns:
        The module, as the factory left it but for the weights.

    Raises:
        UsageError: when there is no such factory, or it does not return a module.
        ArtifactError: when the weights cannot be read or do not fit the module.
    """
    model = _call(factory)
    try:
        missing, unexpected = model.load_state_dict(_read_weights(weights), strict=False)
    except RuntimeError as exc:  # tensors of other shapes
        reason = " ".join(str(exc).split())
        raise ArtifactError(f"{weights} does not fit {factory}: {reason}") from exc
    for names, problem in ((missing, "lacks"), (unexpected, "has, unknown to the model,")):
        if names:
            shown = ", ".join(names[:_SHOWN]) + (" …" if len(names) > _SHOWN else "")
            raise ArtifactError(f"{weights} does not fit {factory}: it {problem} {shown}")
    return model


def read_schema(path: Path) -> Schema:
    """Read a schema from JSON, as ``Schema.to_json`` writes it.

    Args:
        path: of the file.

    Returns:
        The schema.

    Raises:
        SchemaError: when it cannot be read or is no schema; the message names the place.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Schema)
    except OSError as exc:
        raise SchemaError(f"cannot read {path}: {exc.strerror}; see --schema") from exc
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise SchemaError(
            f"{path} is no schema: {exc}; it looks like "
            '{"target": "label", "features": [{"name": "price", "minimum": 1, "maximum": 10}], '
            '"classes": ["no", "yes"]}'
        ) from exc


def _call(factory: str) -> nn.Module:
    module_name, _, name = factory.partition(":")
    if not module_name or not name:
        raise UsageError(f"--model is package.module:factory, got {factory!r}")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        found = importlib.import_module(module_name)
        for part in name.split("."):
            found = getattr(found, part)
        model = found() if callable(found) and not isinstance(found, torch.nn.Module) else found
    except Exception as exc:  # the user's code may raise anything
        raise UsageError(f"cannot make the model {factory}: {type(exc).__name__}: {exc}") from exc
    if not isinstance(model, torch.nn.Module):
        raise UsageError(f"{factory} gives a {type(model).__name__}, not a torch.nn.Module")
    return model


def _read_weights(path: Path) -> dict[str, torch.Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():  # a plain pickle: we say ourselves that it is none of ours
            warnings.filterwarnings("ignore", "Detected pickle protocol", category=UserWarning)
            found = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as exc:
        raise ArtifactError(f"cannot read {path}: {exc.strerror or exc}; see --weights") from exc
    except (SafetensorError, RuntimeError, EOFError, ValueError, KeyError) as exc:
        raise ArtifactError(f"{path} holds no readable weights: {_first_line(exc)}") from exc
    except pickle.UnpicklingError as exc:
        raise ArtifactError(
            f"{path} is no state dict, and nothing else is unpickled: save model.state_dict(), "
            "best as .safetensors"
        ) from exc
    if not isinstance(found, dict) or not all(
        isinstance(value, torch.Tensor) for value in found.values()
    ):
        raise ArtifactError(f"{path} is no state dict: save model.state_dict()")
    return found


def _first_line(exc: Exception) -> str:
    lines = str(exc).strip().splitlines()
    return lines[0] if lines else type(exc).__name__
