"""The model repository, parsed by Triton's own messages, beside the models themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
import torch
from google.protobuf import text_format

from exporter.packaging.package import package_bundle
from runtime.bundle.golden import load_golden
from runtime.bundle.reading import read_bundle

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def repository(sales: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model repository."""
    return package_bundle(sales, "triton", tmp_path_factory.mktemp("packages") / "triton").path


def parse(folder: Path) -> Any:  # noqa: ANN401 - of protobuf
    """A model's configuration; an unknown field or value fails."""
    from tritonclient.grpc import model_config_pb2

    text = (folder / "config.pbtxt").read_text(encoding="ascii")
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def datatype(tensor: Any) -> str:  # noqa: ANN401 - of protobuf
    """The name of a tensor's datatype, without its prefix."""
    field = tensor.DESCRIPTOR.fields_by_name["data_type"]
    name: str = field.enum_type.values_by_number[tensor.data_type].name
    return name.removeprefix("TYPE_")


def test_tensors_are_those_of_the_onnx_model(repository: Path, sales: Path) -> None:
    """Names, types and dimensions, the batch aside; each row of a vector gets a dimension."""
    config = parse(repository / "simplenet")
    assert (config.name, config.backend) == ("simplenet", "onnxruntime")
    graph = onnx.load(repository / "simplenet" / "1" / "model.onnx").graph
    types: dict[int, str] = {onnx.TensorProto.FLOAT: "FP32", onnx.TensorProto.INT64: "INT64"}

    def of_onnx(value: onnx.ValueInfoProto) -> tuple[str, str, list[int]]:
        tensor = value.type.tensor_type
        assert tensor.shape.dim[0].dim_param  # the batch
        dims = [dim.dim_value for dim in tensor.shape.dim[1:]]
        return value.name, types[tensor.elem_type], dims

    def of_triton(tensor: Any) -> tuple[str, str, list[int]]:  # noqa: ANN401 - of protobuf
        dims = list(tensor.reshape.shape) if tensor.HasField("reshape") else list(tensor.dims)
        assert np.prod(tensor.dims) == np.prod(dims)
        return tensor.name, datatype(tensor), dims

    assert [*map(of_triton, config.input)] == [*map(of_onnx, graph.input)]
    assert [*map(of_triton, config.output)] == [*map(of_onnx, graph.output)]
    (labelled,) = (output for output in config.output if output.label_filename)
    labels = (repository / "simplenet" / labelled.label_filename).read_text(encoding="utf-8")
    assert tuple(labels.splitlines()) == read_bundle(sales).manifest.schema.classes
    assert labelled.dims[0] == len(labels.splitlines())


def test_the_torchscript_model_has_the_outputs_in_the_order_of_their_names(
    repository: Path, sales: Path
) -> None:
    """Run on the golden rows as its backend does: arguments by name, outputs by index."""
    config = parse(repository / "simplenet-torchscript")
    assert config.backend == "pytorch"
    bundle = read_bundle(sales)
    golden = load_golden(bundle.files["golden.npz"], bundle.manifest.schema, where="golden")
    with pytest.warns(DeprecationWarning, match="jit"):
        module = torch.jit.load(  # type: ignore[no-untyped-call]  # torch leaves it untyped
            str(repository / "simplenet-torchscript" / "1" / "model.pt")
        )
    arguments = [one.name for one in module.forward.schema.arguments[1:]]
    assert arguments == [tensor.name for tensor in config.input]
    outputs = module(torch.from_numpy(golden.features))
    expected = {
        "label": golden.label,
        "probabilities": golden.probabilities,
        "logits": golden.logits,
    }
    for tensor in config.output:
        name, _, index = tensor.name.partition("__")
        output = outputs[int(index)].numpy()
        assert output.dtype == {"INT64": np.int64, "FP32": np.float32}[datatype(tensor)]
        assert output[:, None].size // len(output) == tensor.dims[0]
        rows = golden.decidable
        np.testing.assert_allclose(output[rows], expected[name][rows], atol=1e-3)


def test_batches_and_warm_up(repository: Path) -> None:
    """Requests are batched; the model has run before it is ready."""
    for model in ("simplenet", "simplenet-torchscript"):
        config = parse(repository / model)
        assert config.HasField("dynamic_batching")
        sizes = [one.batch_size for one in config.model_warmup]
        assert sizes == [1, config.max_batch_size]
        for one in config.model_warmup:
            (feature,) = config.input
            assert list(one.inputs[feature.name].dims) == list(feature.dims)
            assert one.inputs[feature.name].data_type == feature.data_type
