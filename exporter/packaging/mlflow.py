"""An MLflow model: signature, input example, the bundle, and the code that loads it."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Final

from exporter.packaging import mlflow_pyfunc
from exporter.packaging.image import bundle_files, extras_for
from exporter.packaging.wheel import pinned_requirements, source_files
from exporter.packaging.yaml import to_yaml
from runtime.schema.date_formats import EPOCHS
from runtime.schema.dates import format_instant

if TYPE_CHECKING:
    from exporter.packaging.options import PackageOptions
    from runtime.bundle.reading import BundleFiles
    from runtime.schema.features import Feature, Schema

_LOADER: Final = "onnxferry_pyfunc"
_EXAMPLE: Final = "input_example.json"
_REQUIREMENTS: Final = "requirements.txt"
# Full mlflow wants an older pyarrow than ours (3.17); the small one serves, too.
_MLFLOW: Final = b"mlflow-skinny>=3.0\npandas>=2.2\n"
_PARAMS: Final = (
    {"name": "bad_rows", "type": "string", "default": "fail", "shape": None},
    {"name": "proba", "type": "boolean", "default": False, "shape": None},
)


def mlflow_files(bundle: BundleFiles, _options: PackageOptions) -> dict[str, bytes]:
    """Write an MLflow model of the python_function flavor."""
    schema = bundle.manifest.schema
    return {
        "MLmodel": _mlmodel(bundle),
        _EXAMPLE: _to_json(_example(schema)).encode(),
        _REQUIREMENTS: _MLFLOW + pinned_requirements(extras_for(bundle, "cpu")),
        "python_env.yaml": to_yaml(
            {"python": platform.python_version(), "dependencies": [f"-r {_REQUIREMENTS}"]}
        ),
        f"code/{_LOADER}.py": Path(mlflow_pyfunc.__file__).read_bytes(),
        **{f"code/{name}": content for name, content in source_files("runtime").items()},
        **{f"bundle/{name}": content for name, content in bundle_files(bundle).items()},
    }


def _mlmodel(bundle: BundleFiles) -> bytes:
    schema, model = bundle.manifest.schema, bundle.manifest.model
    prefix = mlflow_pyfunc.output_prefix(schema)
    outputs = [
        {"name": prefix + name, "type": kind, "required": True}
        for name, kind in zip(mlflow_pyfunc.ADDED, ("string", "float"), strict=True)
    ]
    return to_yaml(
        {
            "flavors": {
                "python_function": {
                    "loader_module": _LOADER,
                    "code": "code",
                    "data": "bundle",
                    "env": {"virtualenv": "python_env.yaml"},
                    # What `model_config` may set; the key is none of the package, and comes from
                    # outside.
                    "config": {
                        "key": "",
                        "signed_by": bundle.signer.fingerprint if bundle.signer else "",
                    },
                    "python_version": platform.python_version(),
                }
            },
            "metadata": {
                "onnxferry_model": model.name,
                "onnxferry_version": model.version,
                "columns": {feature.name: _describe(feature) for feature in schema.features},
            },
            "signature": {
                "inputs": _to_json([_column(feature) for feature in schema.features]),
                "outputs": _to_json(outputs),
                "params": _to_json(list(_PARAMS)),
            },
            "saved_input_example_info": {
                "artifact_path": _EXAMPLE,
                "type": "dataframe",
                "pandas_orient": "split",
            },
        }
    )


def _column(feature: Feature) -> dict[str, object]:
    """Describe a column; those whose gaps the model imputes may be missing.

    Of the types none but ``any`` leaves a column as it is. MLflow would refuse whole numbers,
    categories of pandas, dates as text or with a time zone, and make True of the text "false", and
    "<NA>" of a missing one. The runtime checks each cell.
    """
    required = feature.missing == "refused" and "" not in feature.categories
    return {"name": feature.name, "type": "any", "required": required}


def _describe(feature: Feature) -> str:
    """Say for people what a column holds."""
    if feature.categories:
        return "boolean" if feature.is_boolean else "category"
    if feature.origin:
        return f"date ({feature.date_format or 'ISO 8601'})"
    return "number"


def _example(schema: Schema) -> dict[str, object]:
    """Make a row inside the ranges, as ``DataFrame.to_dict("split")`` writes it."""
    names, row = list(schema.feature_names), [_cell(feature) for feature in schema.features]
    return {"columns": names, "data": [row]}


def _cell(feature: Feature) -> str | float | bool:
    if feature.categories:
        text = next(text for text in feature.categories if text)
        return text.lower() == "true" if feature.is_boolean else text
    deciles = feature.quantiles
    middle = deciles[len(deciles) // 2] if deciles else feature.minimum
    if not feature.origin:
        return middle
    text = format_instant(middle, feature.origin, feature.date_format)
    return int(text) if feature.date_format in EPOCHS else text


def _to_json(value: object) -> str:
    return json.dumps(value)
