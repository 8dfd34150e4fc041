"""Serve bundles over HTTP and gRPC with the Open Inference Protocol."""
