"""The Open Inference Protocol over gRPC; what is asked is answered as over HTTP."""
