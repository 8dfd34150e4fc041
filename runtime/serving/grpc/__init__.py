"""The Open Inference Protocol over gRPC, with the responses of HTTP."""
