"""A minimal server: FastAPI, orjson, one call of onnxruntime per request, no checks."""

import os

import numpy as np
import onnxruntime as ort
import orjson
from fastapi import FastAPI, Request, Response

options = ort.SessionOptions()
options.intra_op_num_threads = 1
session = ort.InferenceSession(
    os.environ["MODEL_ONNX"], options, providers=["CPUExecutionProvider"]
)
app = FastAPI()
KINDS = {"label": "INT64", "probabilities": "FP32", "logits": "FP32"}


@app.post("/v2/models/simplenet/infer")  # type: ignore[untyped-decorator]  # not installed here
async def infer(request: Request) -> Response:
    """Predict."""
    tensor = orjson.loads(await request.body())["inputs"][0]
    rows = np.array(tensor["data"], np.float32).reshape(tensor["shape"])
    values = session.run(list(KINDS), {"features": rows})
    outputs = [
        {"name": name, "datatype": kind, "shape": value.shape, "data": value.reshape(-1)}
        for (name, kind), value in zip(KINDS.items(), values, strict=True)
    ]
    answer = {"model_name": "simplenet", "model_version": "1", "outputs": outputs}
    text = orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(text, media_type="application/json")
