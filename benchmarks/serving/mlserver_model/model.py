"""MLServer's own runtime class, as its guide has it: one call of onnxruntime a request."""

import os

import numpy as np
import onnxruntime as ort
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

OUTPUTS = ("label", "probabilities", "logits")


class SimpleNet(MLModel):  # type: ignore[misc]  # not installed here
    """The exported model."""

    async def load(self) -> bool:
        """Load the model."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(
            os.environ["MODEL_ONNX"], options, providers=["CPUExecutionProvider"]
        )
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer."""
        rows = NumpyCodec.decode_input(payload.inputs[0]).astype(np.float32, copy=False)
        values = self.session.run(OUTPUTS, {"features": rows})
        outputs = [
            NumpyCodec.encode_output(name, value)
            for name, value in zip(OUTPUTS, values, strict=True)
        ]
        return InferenceResponse(id=payload.id, model_name=self.name, outputs=outputs)
