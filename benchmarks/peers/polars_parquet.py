"""Parquet in polars; carries the columns of --columns, by default all."""

import sys

import numpy as np
import onnxruntime as ort
import polars as pl

source, bundle, out, *chosen = sys.argv[1:]  # then --columns and their names
options = ort.SessionOptions()
options.intra_op_num_threads = 1  # polars has threads of its own
session = ort.InferenceSession(f"{bundle}/model.onnx", options, providers=["CPUExecutionProvider"])
label_type = pl.Enum(["no", "yes"])


def score(table: pl.DataFrame) -> pl.DataFrame:
    """Append label and probability to the columns that are carried through."""
    features = table.select(pl.col("price", "rating").cast(pl.Float32))
    label, probabilities = session.run(
        ["label", "probabilities"], {"features": features.to_numpy(order="c")}
    )
    return table.select(
        *carried,
        pl.Series("label", label.astype(np.uint8)).cat.to(label_type),
        pl.Series("probability", np.maximum(probabilities[:, 0], probabilities[:, 1])),
    )


table = pl.scan_parquet(source)
columns = table.collect_schema()
carried = chosen[1:] if chosen else columns.names()
if chosen:
    table = table.select(*carried, "price", "rating")
schema = pl.Schema(
    {**{name: columns[name] for name in carried}, "label": label_type, "probability": pl.Float32()}
)
table.map_batches(score, schema=schema, streamable=True).sink_parquet(out)
