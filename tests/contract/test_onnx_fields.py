from __future__ import annotations

import onnx

from runtime.onnx_file import (
    DATA_LOCATION,
    EXTERNAL_DATA,
    FIELDS,
    IR_VERSION,
    OPSET_DOMAIN,
    OPSET_IMPORT,
    OPSET_VERSION,
    read_versions,
)

HOLDERS = set(FIELDS)


def test_every_place_that_a_tensor_can_lie_in_is_known() -> None:
    """The runtime parses ONNX files without onnx: its map of fields is onnx's own."""
    for name, fields in FIELDS.items():
        descriptor = getattr(onnx, name).DESCRIPTOR
        expected = {
            field.number: field.message_type.name
            for field in descriptor.fields
            if field.message_type is not None and field.message_type.name in HOLDERS
        }
        assert fields == expected, name


def test_no_other_message_holds_tensors() -> None:
    """Whatever leads to a tensor is in the map."""
    leading = {"TensorProto"}
    messages = dict(onnx.onnx_ml_pb2.DESCRIPTOR.message_types_by_name)
    while True:
        more = {
            name
            for name, message in messages.items()
            if any(
                field.message_type and field.message_type.name in leading
                for field in message.fields
            )
        }
        if more <= leading:
            break
        leading |= more
    assert leading == HOLDERS


def test_the_fields_that_say_where_a_tensor_lies_are_onnx_own() -> None:
    """Numbers of external_data and data_location."""
    fields = onnx.TensorProto.DESCRIPTOR.fields_by_name
    assert fields["external_data"].number == EXTERNAL_DATA
    assert fields["data_location"].number == DATA_LOCATION


def test_versions_are_read_as_onnx_writes_them() -> None:
    """The highest opset of the standard operators, and the IR version."""
    for message, field, number in (
        (onnx.ModelProto, "ir_version", IR_VERSION),
        (onnx.ModelProto, "opset_import", OPSET_IMPORT),
        (onnx.OperatorSetIdProto, "domain", OPSET_DOMAIN),
        (onnx.OperatorSetIdProto, "version", OPSET_VERSION),
    ):
        assert message.DESCRIPTOR.fields_by_name[field].number == number
    model = onnx.ModelProto(ir_version=11)
    for domain, version in (("", 19), ("ai.onnx", 20), ("ai.onnx.ml", 99)):
        model.opset_import.add(domain=domain, version=version)
    assert read_versions(model.SerializeToString()) == (20, 11)
    assert read_versions(b"") == (0, 0)
