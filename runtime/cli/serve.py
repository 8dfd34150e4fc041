"""Implementation of ``runtime serve``."""

from __future__ import annotations

import errno
import os
import signal
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from runtime.bundle.manifest import MANIFEST
from runtime.errors import UnavailableError, UsageError
from runtime.io.paths import parse_location
from runtime.serving.listeners import check_ports
from runtime.serving.settings import DEFAULT_LIMITS, Limits
from runtime.terminal.options import DEFAULT_BUNDLE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from runtime.io.paths import Location
    from runtime.serving.settings import Settings
    from runtime.serving.tls import Certificate


_SERVE: Final = ("httptools", "orjson", "uvloop")
_WORKERS: Final = ("prometheus_client",)
_GRPC: Final = ("grpc", "grpc_health", "grpc_reflection", "google.protobuf")


def find_bundles(
    named: Sequence[str], models: Location | None, key: Path | None = None
) -> dict[str, Location]:
    """Find the bundles to serve, by name; ``key`` must have signed those that name themselves."""
    if not named and not models:
        named = [os.environ.get("ONNXFERRY_BUNDLE") or str(DEFAULT_BUNDLE)]
    found: dict[str, Location] = {}
    for name, path in _named_paths(named, models, key):
        if name in found:
            raise UsageError(
                f"two bundles have the name {name!r}: rename one with --bundle NAME=DIR"
            )
        found[name] = path
    return found


def _named_paths(
    named: Sequence[str], models: Location | None, key: Path | None
) -> list[tuple[str, Location]]:
    listed: list[tuple[str, Location]] = []
    for text in named:
        name, equals, folder = text.partition("=")
        if "://" in name:  # the = is in a URI
            name, equals, folder = "", "", ""
        path = parse_location(folder if equals else text)
        listed.append((name if equals else _manifest_name(path, key), path))
    if models:
        listed += _bundle_folders(models).items()
    if any(not name for name, _ in listed):
        raise UsageError("--bundle NAME=DIR needs a name before the equals sign")
    return listed


def _bundle_folders(models: Location) -> Mapping[str, Location]:
    """Return the bundles of ``--models`` by name."""
    from runtime.serving.models.repository import find_bundles as find_in_folder

    if not models.is_dir():
        raise UsageError(f"--models {models} is not a folder")
    if isinstance(models, os.PathLike) and not os.access(models, os.R_OK | os.X_OK):
        raise UsageError(f"cannot read --models {models}: {os.strerror(errno.EACCES)}")
    found = find_in_folder(models)
    if not found:
        raise UsageError(f"--models {models} has no bundles: none of its folders has a {MANIFEST}")
    return found


def _manifest_name(path: Location, key: Path | None) -> str:
    from runtime.bundle.reading import read_bundle

    return read_bundle(path, key).manifest.model.name


def choose_limits(**values: float | None) -> Limits:
    """Override the default limits with values that are not None."""
    return replace(
        DEFAULT_LIMITS, **{name: value for name, value in values.items() if value is not None}
    )


def choose_certificate(chain: Path | None, key: Path | None) -> Certificate | None:
    """Combine the options of TLS."""
    from runtime.serving.tls import Certificate

    if chain and key:
        return Certificate(chain, key)
    if chain or key:
        raise UsageError("--tls-cert and --tls-key require each other: give both")
    return None


def run_until_signal(bundles: dict[str, Location], settings: Settings) -> None:
    """Serve until a signal, in one process or several."""
    check_ports(settings)
    _require_modules("serve", _SERVE)
    if settings.grpc_port is not None:
        _require_modules("grpc", _GRPC)
    # SIGHUP reloads, but would end a server before its handler is installed.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    if settings.workers > 1:
        _require_modules("serve", _WORKERS)
        from runtime.serving.workers.supervisor import supervise as run
    else:
        from runtime.serving.server import run_server as run
    run(bundles, settings)


def _require_modules(extra: str, modules: tuple[str, ...]) -> None:
    for module in modules:
        try:
            found = find_spec(module)
        except ModuleNotFoundError:  # its package
            found = None
        if found is None:
            raise UnavailableError(
                f'serving needs {module}, which is not installed: pip install "onnxferry[{extra}]"'
            )
