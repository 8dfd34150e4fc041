"""A bundle that travels to other processes, and the models that this process has opened."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from runtime.bundle.manifest import GOLDEN, ONNX_MODEL, Manifest
from runtime.bundle.reading import BundleFiles, digest, read_bundle
from runtime.errors import ArtifactError, UnavailableError
from runtime.io.paths import absolute, parse_location
from runtime.model import LoadedModel
from runtime.value import Value

if TYPE_CHECKING:
    from runtime.choices import ProviderChoice
    from runtime.io.paths import Location

    Key = tuple[str, ProviderChoice, bool]

_NEEDED: Final = (ONNX_MODEL, GOLDEN)
_MAX_MODELS: Final = 8  # that stay open in a process; an engine's worker outlives its jobs


class PortableBundle(Value, frozen=True):
    """A bundle and its digest.

    Attributes:
        bundle: with the files that scoring needs, or without, to be read from its path.
        digest: SHA-256 of the manifest, which has the digests of all files.
    """

    bundle: BundleFiles
    digest: str

    @classmethod
    def read(
        cls, path: Location | str, *, embed: bool, key: str | os.PathLike[str] | None = None
    ) -> PortableBundle:
        """Read and verify a bundle, and take its files along with ``embed``.

        What is opened elsewhere has the same digest, so that a signature is verified here alone.
        """
        found = read_bundle(absolute(parse_location(path)), key)
        files = {name: found.files[name] for name in _NEEDED} if embed else {}
        return cls(BundleFiles(found.path, found.manifest, files), _manifest_digest(found.manifest))

    def at(self, path: Location) -> PortableBundle:
        """Point to a copy of the same bundle, to be read there."""
        return PortableBundle(BundleFiles(path, self.bundle.manifest, {}), self.digest)

    def open(self, provider: ProviderChoice, *, check: bool) -> LoadedModel:
        """Open the model, or get the one that this process has opened; thread-safe."""
        models = _opened.setdefault(os.getpid(), _OpenModels())
        key = (self.digest, provider, check)
        with models.lock:
            if key not in models.by_key:
                if provider != "cpu":
                    _refuse_forked_cuda()
                model = LoadedModel(self._verified(), provider=provider, check=check)
                models.by_key[key] = model
                if len(models.by_key) > _MAX_MODELS:
                    models.by_key.popitem(last=False)
            models.by_key.move_to_end(key)
            return models.by_key[key]

    def _verified(self) -> BundleFiles:
        """Verify the files that came along, or read them."""
        path, files = self.bundle.path, self.bundle.files
        bundle = self.bundle if files else _read_again(path)
        if _manifest_digest(bundle.manifest) != self.digest:
            raise ArtifactError(
                f"{path} is not the bundle that the Scorer was made with (digest "
                f"{_manifest_digest(bundle.manifest)[:12]}…, expected {self.digest[:12]}…): make "
                "the Scorer again, or with embed=True, which takes the bundle along"
            )
        for name, content in files.items():
            if digest(content) != bundle.manifest.files[name]:
                raise ArtifactError(
                    f"{name} of {path} was damaged on its way to this process: make the Scorer "
                    "again"
                )
        return bundle


def _read_again(path: Location) -> BundleFiles:
    """Read the bundle of a scorer that came without it."""
    try:
        return read_bundle(path)
    except ArtifactError as exc:
        raise ArtifactError(
            f"{exc}\n(a Scorer with embed=False reads the bundle from its path in each process; "
            "embed=True takes it along)"
        ) from exc


class _OpenModels:
    """The models of one process, the one used last at the end."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.by_key: OrderedDict[Key, LoadedModel] = OrderedDict()


# By process: a forked child opens its own. Those of its parent are left alone there, as their lock
# may be held and their threads are gone.
_opened: dict[int, _OpenModels] = {}


def _refuse_forked_cuda() -> None:
    """Refuse CUDA in a child of a process that uses it: the driver does not survive a fork."""
    for process, models in _opened.items():
        used = any(model.provider == "cuda" for model in models.by_key.values())
        if used and process != os.getpid():
            raise UnavailableError(
                "CUDA cannot be used in a process that was forked from one that uses it: start "
                'the workers with "spawn", or give provider="cpu"'
            )


def _manifest_digest(manifest: Manifest) -> str:
    return hashlib.sha256(manifest.to_json()).hexdigest()
