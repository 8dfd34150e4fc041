"""Triton's Python backend: the requests that Triton has joined, one call of onnxruntime."""

import os

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as triton

OUTPUTS = ("label", "probabilities", "logits")


class TritonPythonModel:
    """What the backend looks for."""

    def initialize(self, _args: object) -> None:
        """Load the model."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(
            os.environ["MODEL_ONNX"], options, providers=["CPUExecutionProvider"]
        )

    def execute(self, requests: list) -> list:  # type: ignore[type-arg]  # Triton's own types
        """Answer."""
        rows = [triton.get_input_tensor_by_name(one, "features").as_numpy() for one in requests]
        values = self.session.run(OUTPUTS, {"features": np.concatenate(rows)})
        answers, start = [], 0
        for part in rows:
            end = start + len(part)
            tensors = [
                triton.Tensor(name, value[start:end])
                for name, value in zip(OUTPUTS, values, strict=True)
            ]
            answers.append(triton.InferenceResponse(tensors))
            start = end
        return answers
