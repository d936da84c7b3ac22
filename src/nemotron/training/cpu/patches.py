"""What Megatron fixes in code rather than configuration, and a machine without CUDA needs otherwise.

Each entry is one name in one Megatron module. They stay replaced for the life of the process.
"""

import functools
import queue


def patch_torch_layers() -> None:
    """Two layers that the hybrid stack takes from Transformer Engine whatever its spec says.

    hybrid_block.TENorm (the norm after the last layer) and moe_layer.TELinear (the MoE latent projections).
    """
    from megatron.core.models.hybrid import hybrid_block
    from megatron.core.transformer.moe import moe_layer

    from nemotron.training.cpu.layers import ReplicatedLinear, RMSNorm

    hybrid_block.TENorm = RMSNorm
    moe_layer.TELinear = ReplicatedLinear
    moe_layer.HAVE_TE = True  # read only where TELinear is about to be used


def patch_training_loop() -> None:
    """Steps of starting a run and of saving a checkpoint."""
    import megatron.core.datasets.helpers_cpp  # noqa: F401  the extension that compile_helpers would build is here
    from megatron.bridge.training import initialize, setup
    from megatron.core.dist_checkpointing.strategies import filesystem_async

    # Refuses to start without CUDA unless told otherwise, which its caller has no way to do.
    setup.initialize_megatron = functools.partial(setup.initialize_megatron, allow_no_cuda=True)

    # Runs `make` in the installed package, and ends the process when that fails; wheels carry no Makefile.
    initialize.compile_helpers = lambda: None

    # Starts a process to hold a queue that only asynchronous saves share with another process. Starting it imports
    # the main script again, which costs as long as importing Megatron where the script does so.
    filesystem_async.get_write_results_queue = lambda mp_mode="spawn": queue.Queue()
