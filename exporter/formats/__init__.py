"""Model files: ONNX, TorchScript and ``torch.export``, written, loaded and inspected."""
