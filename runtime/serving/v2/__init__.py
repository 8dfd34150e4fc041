"""The Open Inference Protocol, version 2: its messages, in JSON and with binary tensors.

Source: the protocol's specification (github.com/kserve/open-inference-protocol) and Triton's
extensions to it (binary tensor data, model repository, statistics).
"""
