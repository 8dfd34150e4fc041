"""Serve bundles over the network: HTTP, the Open Inference Protocol, models and their reload."""
