"""KServe's SDK as in its guide: a model class, one call of onnxruntime per request."""

import logging
import os
import sys

import kserve
import numpy as np
import onnxruntime as ort
from kserve.protocol.infer_type import InferOutput, InferResponse
from kserve.protocol.rest.server import RESTServer
from kserve.utils.utils import generate_uuid

KINDS = {"label": "INT64", "probabilities": "FP32", "logits": "FP32"}


class SimpleNet(kserve.Model):  # type: ignore[misc]  # not installed here
    """The exported model."""

    def load(self) -> bool:
        """Load the model."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(
            os.environ["MODEL_ONNX"], options, providers=["CPUExecutionProvider"]
        )
        self.ready = True
        return self.ready

    async def predict(self, payload: kserve.InferRequest, *_: object, **__: object) -> object:
        """Predict."""
        rows = payload.inputs[0].as_numpy().astype(np.float32, copy=False)
        values = self.session.run(list(KINDS), {"features": rows})
        wishes = payload.request_outputs or []
        outputs = []
        for (name, kind), value in zip(KINDS.items(), values, strict=True):
            output = InferOutput(name=name, shape=list(value.shape), datatype=kind)
            output.set_data_from_numpy(value, binary_data=bool(wishes))
            outputs.append(output)
        return InferResponse(
            generate_uuid(),
            self.name,
            outputs,
            use_binary_outputs=bool(wishes),
            requested_outputs=wishes,
        )


if __name__ == "__main__":
    model = SimpleNet("simplenet")
    model.load()
    server = kserve.ModelServer(enable_grpc=False, enable_latency_logging=False)
    server.register_model(model)
    rest = RESTServer(
        "kserve.model_server:app",
        server.dataplane,
        server.model_repository_extension,
        int(sys.argv[1]),
    )
    rest.config.host = "127.0.0.1"  # all interfaces, unless told
    for name in ("kserve.trace", "uvicorn.access"):  # a line or more for every request
        logging.getLogger(name).setLevel(logging.WARNING)
    rest.run()
