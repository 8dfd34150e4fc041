"""Engines: ways to make the same steps of gradient descent.

    step      the step in ATen calls, on buffers
    written   runs it on the CPU, in torch's interpreter of TorchScript
    graph     captures it as CUDA graphs; device_steps is what they hold, feeds bring the rows
    eager     autograd and torch.optim: the oracle of both, for tests and benchmarks

Each takes rows in a given order and changes a ``state.State`` in place.
"""
