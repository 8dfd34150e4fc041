"""One fit in several processes, started by ``torchrun``: data-parallel, every process alike.

    launch       which process this is; what only rank 0 does
    group        collectives: gloo between CPUs, NCCL between CUDA devices; lost processes
    watchdog     the end of a process that waits for a lost one in vain
    consistency  that all processes have the same data, options and, bit for bit, weights
    shard        the engine: a shard of each batch, gradients all-reduced

Only ``launch`` is imported, and no process group made, in a fit without torchrun.
"""
