"""The bodies of requests and answers as JSON Schema, in OpenAPI 3.1's dialect.

Written by hand, beside the readers and writers that they describe; tests compare them with what
is answered. No errors.
"""

from __future__ import annotations

from typing import Final

Schema = dict[str, object]

_TEXT: Final[Schema] = {"type": "string"}
_TRUTH: Final[Schema] = {"type": "boolean"}
_COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
_NUMBER: Final[Schema] = {"type": "number"}
_ANYTHING: Final[Schema] = {"type": ["object", "null"]}
_DATATYPE: Final[Schema] = {
    "type": "string",
    "enum": [
        *("FP16", "FP32", "FP64", "BF16", "INT8", "INT16", "INT32", "INT64"),
        *("UINT8", "UINT16", "UINT32", "UINT64", "BYTES"),
    ],
    "description": "BYTES for a column of categories, numbers for all others",
}
# Null stands for a number or text that is missing, where training had such gaps.
_CELL: Final[Schema] = {"type": ["number", "string", "null"]}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _list(of: Schema) -> Schema:
    return {"type": "array", "items": of}


def _object(needed: Schema, **more: Schema) -> Schema:
    """An object; further keys are passed over."""
    return {"type": "object", "required": list(needed), "properties": {**needed, **more}}


_SIZES: Final = _list(_COUNT)
_PARAMETERS: Final[Schema] = {
    "type": ["object", "null"],
    "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
}
_DURATION: Final = _object({"count": _COUNT, "ns": _COUNT})
_DURATIONS: Final = (
    *("success", "fail", "queue", "compute_input", "compute_infer", "compute_output"),
    *("cache_hit", "cache_miss"),
)
_TENSOR: Final = _object(
    {"name": _TEXT, "datatype": _DATATYPE, "shape": _list({"type": "integer", "minimum": -1})}
)

SCHEMAS: Final[dict[str, Schema]] = {
    "Error": _object({"error": _TEXT}),
    "Live": _object({"live": _TRUTH}),
    "Ready": _object(
        {"ready": _TRUTH},
        reasons={"type": "object", "additionalProperties": _TEXT},
        error=_TEXT,
    ),
    "Server": _object({"name": _TEXT, "version": _TEXT, "extensions": _list(_TEXT)}),
    "Model": _object(
        {
            "name": _TEXT,
            "versions": _list(_TEXT),
            "platform": _TEXT,
            "inputs": _list(_TENSOR),
            "outputs": _list(_TENSOR),
        }
    ),
    "ModelReady": _object({"name": _TEXT, "ready": _TRUTH}),
    "InferenceRequest": _object(
        {
            "inputs": {
                "type": "array",
                "minItems": 1,
                "items": _object(
                    {"name": _TEXT, "shape": _SIZES, "datatype": _DATATYPE},
                    parameters=_PARAMETERS,
                    data={"type": "array", "items": {"anyOf": [_CELL, _list(_CELL)]}},
                ),
            }
        },
        id={"type": ["string", "null"]},
        parameters=_PARAMETERS,
        outputs={
            "type": ["array", "null"],
            "items": _object(
                {"name": {"enum": ["label", "probabilities", "logits"]}}, parameters=_PARAMETERS
            ),
        },
    ),
    "InferenceAnswer": _object(
        {
            "model_name": _TEXT,
            "model_version": _TEXT,
            "outputs": _list(
                _object(
                    {"name": _TEXT, "datatype": _DATATYPE, "shape": _SIZES},
                    parameters=_PARAMETERS,
                    data=_list(_NUMBER),
                )
            ),
        },
        id=_TEXT,
    ),
    "Statistics": _object(
        {
            "model_stats": _list(
                _object(
                    {
                        "name": _TEXT,
                        "version": _TEXT,
                        "last_inference": _COUNT,
                        "inference_count": _COUNT,
                        "execution_count": _COUNT,
                        "inference_stats": _object(dict.fromkeys(_DURATIONS, _DURATION)),
                        "batch_stats": _list(_object({"batch_size": _COUNT})),
                    }
                )
            )
        }
    ),
    "IndexRequest": _object({}, ready=_TRUTH, parameters=_ANYTHING),
    "Index": _list(
        _object(
            {
                "name": _TEXT,
                "version": _TEXT,
                "state": {"enum": ["READY", "UNAVAILABLE"]},
                "reason": _TEXT,
            }
        )
    ),
    "LoadRequest": _object(
        {},
        ready=_TRUTH,
        parameters={"type": ["object", "null"], "maxProperties": 0, "description": "not offered"},
    ),
    "UnloadRequest": _object({}, ready=_TRUTH, parameters=_ANYTHING),
    "Done": {"type": "object", "maxProperties": 0},
    "Any": {},
    "Row": {"type": "object"},
    "Rows": {"anyOf": [_ref("Row"), _list(_ref("Row"))]},
    "Cards": _list(
        _object(
            {
                "name": _TEXT,
                "version": _TEXT,
                "target": _TEXT,
                "classes": _list(_TEXT),
                "features": _list(
                    _object(
                        {
                            "name": _TEXT,
                            "minimum": _NUMBER,
                            "maximum": _NUMBER,
                            "missing": _TEXT,
                            "origin": _TEXT,
                            "categories": _list(_TEXT),
                        }
                    )
                ),
                "provider": _TEXT,
                "reason": _TEXT,
                "facts": {"type": "object", "additionalProperties": _TEXT},
            }
        )
    ),
}
