"""The one module that speaks to onnxruntime.

It chooses a provider, opens a session and says what really runs. In: the bytes of an ONNX
model and a provider's name. Out: numpy arrays, or an ``UnavailableError`` when what was asked
for is not what would run.
"""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from runtime.choices import ProviderChoice
from runtime.errors import ArtifactError, UnavailableError, UsageError
from runtime.onnx_file import refuse_external_data
from runtime.value import Value

if TYPE_CHECKING:
    from types import ModuleType

    import numpy.typing as npt

    from runtime.schema.features import Float32Matrix

Provider = Literal["cpu", "cuda"]
OptimizationLevel = Literal["all", "extended", "basic", "disabled"]

_PROVIDER_NAMES: dict[Provider, str] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
}
_LEVELS: dict[OptimizationLevel, str] = {
    "all": "ORT_ENABLE_ALL",
    "extended": "ORT_ENABLE_EXTENDED",
    "basic": "ORT_ENABLE_BASIC",
    "disabled": "ORT_DISABLE_ALL",
}
_BUILDS = ("onnxruntime", "onnxruntime-gpu")
_LOG_FATAL = 4  # onnxruntime prints nothing of its own: we report what happened


class Outputs(Value, frozen=True):
    """What the model answers for a batch.

    Attributes:
        label: ``(rows,)`` int64, position in the schema's classes.
        probabilities: ``(rows, classes)`` float32.
        logits: ``(rows, classes)`` float32.
    """

    label: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float32]
    logits: npt.NDArray[np.float32]

    @property
    def is_finite(self) -> bool:
        """Whether every row's answer is one."""
        return bool(np.isfinite(self.probabilities).all())

    def finite_rows(self) -> npt.NDArray[np.bool_]:
        """Tell for each row whether its answer is one: ``(rows,)`` bool."""
        return np.asarray(np.isfinite(self.probabilities).all(axis=1))

    def take(self, rows: npt.NDArray[np.bool_]) -> Outputs:
        """Keep the rows that ``(rows,)`` bool marks."""
        return Outputs(self.label[rows], self.probabilities[rows], self.logits[rows])

    def slice(self, start: int, end: int) -> Outputs:
        """Look at the rows from ``start`` to before ``end``, in place."""
        return Outputs(self.label[start:end], self.probabilities[start:end], self.logits[start:end])


class Session:
    """An ONNX model, loaded and ready on one provider.

    Running it is thread-safe: several threads may call ``run`` at once.
    """

    def __init__(
        self,
        model: bytes,
        *,
        provider: ProviderChoice = "auto",
        threads: int = 1,
        level: OptimizationLevel = "all",
        where: str = "the model",
    ) -> None:
        """Load a model.

        Args:
            model: content of an ONNX file.
            provider: ``cuda`` and ``cpu`` mean just that; ``auto`` takes CUDA where it works.
            threads: of onnxruntime for one batch.
            level: graph optimisation level.
            where: name of the model for messages.

        Raises:
            UnavailableError: when onnxruntime is missing or doubled, or the provider asked for
                does not really run.
            ArtifactError: when onnxruntime cannot load the model, or a part of it lies in
                another file.
        """
        refuse_external_data(model, where=where)
        ort = _load_onnxruntime()
        self.provider, self.reason = _choose(ort, provider)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, _LEVELS[level])
        options.log_severity_level = _LOG_FATAL
        self._session = _open(ort, model, options, self.provider, where)
        _confirm(self._session, self.provider)
        self._where = where

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the model's inputs."""
        return tuple(node.name for node in self._session.get_inputs())

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the model's outputs."""
        return tuple(node.name for node in self._session.get_outputs())

    @property
    def metadata(self) -> dict[str, str]:
        """The model's ``metadata_props``."""
        return dict(self._session.get_modelmeta().custom_metadata_map)

    def run(self, features: Float32Matrix) -> Outputs:
        """Compute the model for a batch.

        Args:
            features: ``(rows, n_features)`` float32; rows may be 0.

        Returns:
            The three outputs of the model contract.

        Raises:
            ArtifactError: when onnxruntime cannot compute it.
        """
        try:
            label, probabilities, logits = self._session.run(
                ("label", "probabilities", "logits"), {"features": features}
            )
        except Exception as exc:  # onnxruntime's errors share no base but Exception
            raise ArtifactError(
                f"onnxruntime cannot run {self._where} on {features.shape}: {_reason(exc)}"
            ) from exc
        return Outputs(label, probabilities, logits)


def engine_version() -> str:
    """Look up the version of the installed onnxruntime."""
    return str(_load_onnxruntime().__version__)


def present_providers() -> tuple[Provider, ...]:
    """The providers that work on this machine, the CPU first."""
    ort = _load_onnxruntime()
    return ("cpu",) if _why_no_cuda(ort) else ("cpu", "cuda")


def _load_onnxruntime() -> ModuleType:
    """Import onnxruntime, or explain what is wrong with its installation and how to fix it."""
    installed = [name for name in _BUILDS if is_installed(name)]
    if len(installed) == len(_BUILDS):
        raise UnavailableError(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other: "
            "pip uninstall -y onnxruntime onnxruntime-gpu, "
            'then pip install "onnxferry[gpu]" or "onnxferry[cpu]"'
        )
    try:
        import onnxruntime as ort
    except ImportError as exc:
        raise UnavailableError(
            f"no working onnxruntime ({exc}): "
            'pip install "onnxferry[gpu]" (runs on CPU too) or "onnxferry[cpu]"'
        ) from exc
    module: ModuleType = ort
    return module


def is_installed(distribution: str) -> bool:
    """Tell whether a distribution is installed."""
    prefix = distribution.replace("-", "_") + "-"
    for folder in sys.path:
        with suppress(OSError):
            if any(
                name.startswith(prefix) and name.endswith(".dist-info")
                for name in os.listdir(folder or os.curdir)  # noqa: PTH208 - a fifth of glob's time
            ):
                return True
    return False


def _choose(ort: ModuleType, choice: ProviderChoice) -> tuple[Provider, str]:
    """Settle on a provider and the reason for it."""
    if choice not in get_args(ProviderChoice):
        raise UsageError(f"no provider {choice!r}: choose {', '.join(get_args(ProviderChoice))}")
    if choice == "cpu":
        return "cpu", "requested"
    obstacle = _why_no_cuda(ort)
    if choice == "auto":
        return ("cpu", obstacle.what) if obstacle else ("cuda", "a CUDA device is present")
    if obstacle:
        raise UnavailableError(
            f"CUDA was requested, but {obstacle.what}: {obstacle.advice}, or use --provider cpu"
        )
    return "cuda", "requested"


class _Obstacle(Value, frozen=True):
    """Why a provider cannot run, and what to do about it."""

    what: str
    advice: str


def _why_no_cuda(ort: ModuleType) -> _Obstacle | None:
    """Say what keeps CUDA from running here, or None when nothing speaks against it."""
    if _PROVIDER_NAMES["cuda"] not in ort.get_available_providers():
        return _Obstacle(
            "this onnxruntime is built without CUDA",
            'pip uninstall -y onnxruntime, then pip install "onnxferry[gpu]"',
        )
    if not _count_cuda_devices():
        return _Obstacle("no CUDA device is present", "see nvidia-smi")
    return None


def _count_cuda_devices() -> int:
    """Ask NVIDIA's driver for the number of devices; 0 without a driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def _open(ort: ModuleType, model: bytes, options: object, provider: Provider, where: str) -> Any:  # noqa: ANN401 - onnxruntime publishes no types
    """Create onnxruntime's session, its errors translated."""
    if provider == "cuda":
        ort.preload_dlls()  # finds NVIDIA's libraries where pip put them
    chosen: list[object] = [_PROVIDER_NAMES["cpu"]]
    if provider == "cuda":
        # TF32 keeps 10 bits of a product's mantissa: off, what was proven is what serves.
        chosen.insert(0, (_PROVIDER_NAMES["cuda"], {"use_tf32": "0"}))
    try:
        return ort.InferenceSession(model, sess_options=options, providers=chosen)
    except Exception as exc:  # onnxruntime's errors share no base but Exception
        raise ArtifactError(f"onnxruntime cannot load {where}: {_reason(exc)}") from exc


def _reason(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _confirm(session: Any, provider: Provider) -> None:  # noqa: ANN401 - as above
    """Look at what really runs: onnxruntime falls back to the CPU without an error."""
    running = session.get_providers()
    if running[0] != _PROVIDER_NAMES[provider]:
        raise UnavailableError(
            f"{_PROVIDER_NAMES[provider]} was requested and could not start; onnxruntime would "
            f"have run on {running[0]}: install NVIDIA's libraries with "
            'pip install "onnxruntime-gpu[cuda,cudnn]", or use --provider cpu'
        )
