"""Run ONNX models with onnxruntime; no other module imports it."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from runtime.choices import ProviderChoice
from runtime.errors import ArtifactError, UnavailableError, UsageError, first_line
from runtime.onnx_file import refuse_external_data
from runtime.surfaces import option
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
_LOG_FATAL = 4  # onnxruntime's own log is off: errors are raised


class Outputs(Value, frozen=True):
    """Outputs of the model for a batch.

    Attributes:
        label: ``(rows,)`` int64, index into the schema's classes.
        probabilities: ``(rows, classes)`` float32, 0 to 1.
        logits: ``(rows, classes)`` float32.
    """

    label: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float32]
    logits: npt.NDArray[np.float32]

    @property
    def is_finite(self) -> bool:
        """Whether the probabilities of all rows are finite."""
        return bool(np.isfinite(self.probabilities).all())

    def finite_rows(self) -> npt.NDArray[np.bool_]:
        """Mark the rows whose probabilities are finite: ``(rows,)`` bool."""
        return np.asarray(np.isfinite(self.probabilities).all(axis=1))

    def take(self, rows: npt.NDArray[np.bool_ | np.intp]) -> Outputs:
        """Select rows by a mask, ``(rows,)`` bool, or by their indices."""
        return Outputs(self.label[rows], self.probabilities[rows], self.logits[rows])

    def slice(self, start: int, end: int) -> Outputs:
        """View the rows from ``start`` to ``end``, exclusive, without a copy."""
        return Outputs(self.label[start:end], self.probabilities[start:end], self.logits[start:end])


class Session:
    """An ONNX model loaded on one execution provider.

    ``run`` is thread-safe.
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
            provider: ``cuda``, ``cpu``, or ``auto``, which takes CUDA when it is available.
            threads: onnxruntime's intra-op threads, for one batch.
            level: graph optimisation level.
            where: name of the model in messages.

        Raises:
            UsageError: when ``provider`` is none of these.
            UnavailableError: when onnxruntime is missing, both its builds are installed, or the
                requested provider is not available.
            ArtifactError: when onnxruntime cannot load the model, or the model has external data.
        """
        refuse_external_data(model, where=where)
        ort = _load_onnxruntime()
        self.provider, self.reason = _choose_provider(ort, provider)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, _LEVELS[level])
        options.log_severity_level = _LOG_FATAL
        self._session = _create_session(ort, model, options, self.provider, where)
        _verify_provider(self._session, self.provider)
        self._where = where
        self._shrinking = ort.RunOptions()
        if self.provider == "cpu":
            self._shrinking.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")

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

    def run(self, features: Float32Matrix, *, shrink: bool = False) -> Outputs:
        """Run the model on a batch.

        Args:
            features: ``(rows, n_inputs)`` float32; rows may be 0.
            shrink: free the memory that the batch needed, which is otherwise kept for the next one;
                on the CPU alone.

        Returns:
            Labels, probabilities and logits.

        Raises:
            ArtifactError: when onnxruntime fails, for one because of another number of inputs.
        """
        try:
            label, probabilities, logits = self._session.run(
                ("label", "probabilities", "logits"),
                {"features": features},
                self._shrinking if shrink else None,
            )
        except Exception as exc:  # onnxruntime's errors share no base but Exception
            raise ArtifactError(
                f"onnxruntime cannot run {self._where} on {features.shape}: {first_line(exc)}"
            ) from exc
        return Outputs(label, probabilities, logits)


def onnxruntime_version() -> str:
    """Get the version of the installed onnxruntime."""
    return str(_load_onnxruntime().__version__)


def available_providers() -> tuple[Provider, ...]:
    """List the providers that are available on this machine, the CPU first."""
    ort = _load_onnxruntime()
    return ("cpu",) if _find_cuda_problem(ort) else ("cpu", "cuda")


def _load_onnxruntime() -> ModuleType:
    """Import onnxruntime; the error explains how to repair its installation."""
    installed = [name for name in _BUILDS if is_installed(name)]
    if len(installed) == len(_BUILDS):
        raise UnavailableError(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other: "
            "pip uninstall -y onnxruntime onnxruntime-gpu, "
            'then pip install "onnxferry[gpu]" or "onnxferry[cpu]"'
        )
    # Telemetry writes to the home folder and looks up a host from the import on; a user's own
    # setting stays.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime as ort
    except ImportError as exc:
        raise UnavailableError(
            f"onnxruntime cannot be imported ({exc}): "
            'pip install "onnxferry[gpu]" (runs on CPU too) or "onnxferry[cpu]"'
        ) from exc
    module: ModuleType = ort
    return module


def is_installed(distribution: str) -> bool:
    """Check whether a distribution is installed."""
    prefix = distribution.replace("-", "_") + "-"
    for folder in sys.path:
        with suppress(OSError):
            if any(
                name.startswith(prefix) and name.endswith(".dist-info")
                for name in os.listdir(folder or os.curdir)  # noqa: PTH208 - five times as fast as glob
            ):
                return True
    return False


def check_choice(choice: str) -> None:
    """Refuse an unknown choice of a provider."""
    if choice not in get_args(ProviderChoice):
        choices = ", ".join(get_args(ProviderChoice))
        raise UsageError(f"unknown provider {choice!r}: choose {choices}")


def _choose_provider(ort: ModuleType, choice: ProviderChoice) -> tuple[Provider, str]:
    """Choose a provider; return it with the reason."""
    check_choice(choice)
    if choice == "cpu":
        return "cpu", "requested"
    problem = _find_cuda_problem(ort)
    if choice == "auto":
        return ("cpu", problem.reason) if problem else ("cuda", "a CUDA device is present")
    if problem:
        raise UnavailableError(
            f"CUDA was requested, but {problem.reason}: {problem.advice}, or use "
            + option("provider", "cpu")
        )
    return "cuda", "requested"


class _CudaProblem(Value, frozen=True):
    """Why CUDA is not available, and the remedy."""

    reason: str
    advice: str


def _find_cuda_problem(ort: ModuleType) -> _CudaProblem | None:
    """Find out why CUDA is not available; None when it is."""
    if _PROVIDER_NAMES["cuda"] not in ort.get_available_providers():
        return _CudaProblem(
            "this onnxruntime is built without CUDA",
            'pip uninstall -y onnxruntime, then pip install "onnxferry[gpu]"',
        )
    if not _count_cuda_devices():
        return _CudaProblem("no CUDA device is present", "see nvidia-smi")
    return None


def _count_cuda_devices() -> int:
    """Query NVIDIA's driver for the number of devices; 0 without a driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def _create_session(
    ort: ModuleType, model: bytes, options: object, provider: Provider, where: str
) -> Any:  # noqa: ANN401 - onnxruntime publishes no types
    """Create an ``InferenceSession`` and translate its errors."""
    if provider == "cuda":
        ort.preload_dlls()  # finds NVIDIA's libraries where pip put them
    chosen: list[object] = [_PROVIDER_NAMES["cpu"]]
    if provider == "cuda":
        # TF32 has a 10-bit mantissa: the parity proof holds for float32 only.
        chosen.insert(0, (_PROVIDER_NAMES["cuda"], {"use_tf32": "0"}))
    try:
        return ort.InferenceSession(model, sess_options=options, providers=chosen)
    except Exception as exc:  # onnxruntime's errors share no base but Exception
        raise ArtifactError(f"onnxruntime cannot load {where}: {first_line(exc)}") from exc


def _verify_provider(session: Any, provider: Provider) -> None:  # noqa: ANN401 - as above
    """Check the provider in use: onnxruntime falls back to the CPU without an error."""
    running = session.get_providers()
    if running[0] != _PROVIDER_NAMES[provider]:
        raise UnavailableError(
            f"{_PROVIDER_NAMES[provider]} was requested and could not start; onnxruntime would "
            f"have run on {running[0]}: install NVIDIA's libraries with "
            'pip install "onnxruntime-gpu[cuda,cudnn]", or use ' + option("provider", "cpu")
        )
