"""A model repository for Triton: the ONNX model, and the TorchScript model beside it.

Sources: model_config.proto of triton-inference-server/common; the names that its pytorch_backend
requires, NAME__INDEX for outputs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from exporter.packaging.names import kubernetes_name
from exporter.packaging.yaml import quote
from runtime.bundle.manifest import ONNX_MODEL, TORCHSCRIPT_MODEL
from runtime.errors import ArtifactError
from runtime.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from exporter.packaging.options import PackageOptions
    from runtime.bundle.manifest import Tensor
    from runtime.bundle.reading import BundleFiles

_MAX_BATCH: Final = 2048  # as in `runtime serve`: larger ones outgrow the CPU caches
_QUEUE_DELAY_US: Final = 100
_LABELS: Final = "labels.txt"
_LABELLED: Final = "probabilities"  # of the classification extension
_CONFIG: Final = """\
name: {name}
backend: {backend}
max_batch_size: {max_batch}
{tensors}
dynamic_batching {{
  max_queue_delay_microseconds: {delay}
}}
{warmups}"""
_WARMUP: Final = """\
model_warmup {{
  name: "batch of {batch}"
  batch_size: {batch}
  inputs {{
    key: {key}
    value {{
      data_type: TYPE_{datatype}
      dims: {dims}
      zero_data: true
    }}
  }}
}}
"""


def triton_files(bundle: BundleFiles, _options: PackageOptions) -> dict[str, bytes]:
    """Write a model repository with two models: NAME runs ONNX, NAME-torchscript TorchScript."""
    if TORCHSCRIPT_MODEL not in bundle.files:
        raise ArtifactError(f"{bundle.path} has no {TORCHSCRIPT_MODEL}; export the model again")
    name = kubernetes_name(bundle.manifest.model.name)
    # One line a class, in the order of the outputs.
    labels = "".join(f"{printable(one)}\n" for one in bundle.manifest.schema.classes).encode()
    outputs = bundle.manifest.signature.outputs
    numbered = [f"{output.name}__{index}" for index, output in enumerate(outputs)]
    models = {
        name: ("onnxruntime", "model.onnx", ONNX_MODEL, [output.name for output in outputs]),
        f"{name}-torchscript": ("pytorch", "model.pt", TORCHSCRIPT_MODEL, numbered),
    }
    files: dict[str, bytes] = {}
    for model, (backend, file, source, names) in models.items():
        files[f"{model}/config.pbtxt"] = _config(model, backend, names, bundle).encode()
        files[f"{model}/{_LABELS}"] = labels
        files[f"{model}/1/{file}"] = bundle.files[source]
    return files


def _config(model: str, backend: str, outputs: Sequence[str], bundle: BundleFiles) -> str:
    signature = bundle.manifest.signature
    (features,) = signature.inputs
    tensors = [
        _tensor("input", features.name, features),
        *(
            _tensor("output", name, tensor)
            for name, tensor in zip(outputs, signature.outputs, strict=True)
        ),
    ]
    warmups = [
        _WARMUP.format(
            batch=batch,
            key=quote(features.name),
            datatype=features.datatype,
            dims=list(features.shape[1:]),
        )
        for batch in (1, _MAX_BATCH)
    ]
    return _CONFIG.format(
        name=quote(model),
        backend=quote(backend),
        max_batch=_MAX_BATCH,
        tensors="\n".join(tensors),
        delay=_QUEUE_DELAY_US,
        warmups="".join(warmups),
    )


def _tensor(kind: str, name: str, tensor: Tensor) -> str:
    """Write an input or output; Triton adds the batch, and each row needs a dimension."""
    dims = list(tensor.shape[1:])
    lines = [
        f"name: {quote(name)}",
        f"data_type: TYPE_{tensor.datatype}",
        f"dims: {dims or [1]}",
        *([] if dims else ["reshape { shape: [] }"]),
        *([f"label_filename: {quote(_LABELS)}"] if tensor.name == _LABELLED else []),
    ]
    return "\n".join((f"{kind} {{", *(f"  {line}" for line in lines), "}"))
