"""polars in batches: read, scored, and written in a second thread."""

import queue
import sys
import threading
from pathlib import Path

import numpy as np
import onnxruntime as ort
import polars as pl

source, bundle, out = sys.argv[1:]
options = ort.SessionOptions()
options.intra_op_num_threads = 1
session = ort.InferenceSession(f"{bundle}/model.onnx", options, providers=["CPUExecutionProvider"])
scored: queue.Queue[pl.DataFrame | None] = queue.Queue(4)


def write() -> None:
    """Write what was scored, in order."""
    first = True
    with Path(out).open("wb") as stream:
        while (batch := scored.get()) is not None:
            batch.write_csv(stream, include_header=first)
            first = False


writer = threading.Thread(target=write, daemon=True)
writer.start()
table = pl.scan_csv(source, infer_schema=False)
for batch in table.collect_batches(maintain_order=True):
    features = batch.select(pl.col("price", "rating").cast(pl.Float32, strict=False))
    label, probabilities = session.run(
        ["label", "probabilities"], {"features": features.to_numpy(order="c")}
    )
    answers = [
        pl.Series("label", label.astype(np.uint8)).cat.to(pl.Enum(["no", "yes"])),
        pl.Series("probability", np.maximum(probabilities[:, 0], probabilities[:, 1])),
    ]
    scored.put(batch.with_columns(answers))
scored.put(None)
writer.join()
