"""The files of a model: ONNX, TorchScript and ``torch.export``, written and loaded."""
