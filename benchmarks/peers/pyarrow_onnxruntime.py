"""A pyarrow stream, onnxruntime, and pyarrow's CSV writer: little memory."""

import sys

import numpy as np
import onnxruntime as ort
import pyarrow as pa
import pyarrow.csv as arrow_csv

source, bundle, out = sys.argv[1:]
session = ort.InferenceSession(f"{bundle}/model.onnx", providers=["CPUExecutionProvider"])
names = pa.array(["no", "yes"])
writer = None
with arrow_csv.open_csv(source) as table:
    for batch in table:
        features = np.stack(
            [batch.column(name).to_numpy().astype(np.float32) for name in ("price", "rating")],
            axis=1,
        )
        label, probabilities = session.run(["label", "probabilities"], {"features": features})
        scored = batch.append_column("label", names.take(pa.array(label)))
        scored = scored.append_column("probability", pa.array(probabilities.max(axis=1)))
        writer = writer or arrow_csv.CSVWriter(out, scored.schema)
        writer.write_batch(scored)
if writer:
    writer.close()
