"""Parquet in pyarrow; carries the columns of --columns, by default all."""

import sys

import numpy as np
import onnxruntime as ort
import pyarrow as pa
import pyarrow.parquet as pq

source, bundle, out, *chosen = sys.argv[1:]  # then --columns and their names
options = ort.SessionOptions()
options.intra_op_num_threads = 1  # pyarrow reads columns in threads of its own
session = ort.InferenceSession(f"{bundle}/model.onnx", options, providers=["CPUExecutionProvider"])
names = pa.array(["no", "yes"])
table = pq.ParquetFile(source)
carried = chosen[1:] if chosen else table.schema_arrow.names
wanted = list(dict.fromkeys([*carried, "price", "rating"]))
schema = pa.schema(
    [
        *(table.schema_arrow.field(name) for name in carried),
        ("label", pa.string()),
        ("probability", pa.float32()),
    ]
)
with pq.ParquetWriter(out, schema) as writer:
    for batch in table.iter_batches(batch_size=2**16, columns=wanted):
        features = np.stack(
            [batch.column(name).to_numpy().astype(np.float32) for name in ("price", "rating")],
            axis=1,
        )
        label, probabilities = session.run(["label", "probabilities"], {"features": features})
        answers = [
            names.take(pa.array(label)),
            pa.array(np.maximum(probabilities[:, 0], probabilities[:, 1])),
        ]
        kept = [batch.column(name) for name in carried]
        writer.write_batch(pa.record_batch([*kept, *answers], schema=schema), row_group_size=2**20)
