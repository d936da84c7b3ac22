"""Replace functions of Megatron that require CUDA or Transformer Engine.

Each is one name in one Megatron module, and stays replaced for the life of the process.
"""

import functools
import queue
from typing import Any

import torch

from nemotron.training import bridge
from nemotron.training.bridge.dataset_helpers import use_built_helpers


def patch_torch_layers() -> None:
    """Replace the layers that the hybrid stack always takes from Transformer Engine.

    These are the block's TENorm (the norm after the last layer) and moe_layer.TELinear (the MoE latent projections).
    The experts are computed in grouped products.
    """
    from megatron.core.transformer.moe import experts, moe_layer

    from nemotron.training.torch_layers.experts import group_where_possible
    from nemotron.training.torch_layers.layers import ReplicatedLinear, RMSNorm

    block: Any = bridge.installed().hybrid_stack().block
    block.TENorm = RMSNorm
    moe_layer.TELinear = ReplicatedLinear
    moe_layer.HAVE_TE = True  # read only before TELinear is used
    sequential: Any = experts.SequentialMLP
    sequential.forward = group_where_possible(sequential.forward)


def patch_conversion() -> None:
    """Add the Hugging Face names of parameters that only the torch layers have.

    See `conversion_mappings`.
    """
    from megatron.bridge.models.conversion.mapping_registry import MegatronMappingRegistry
    from megatron.bridge.models.nemotronh.nemotron_h_bridge import NemotronHBridge

    stock_registry = NemotronHBridge.mapping_registry

    @functools.wraps(stock_registry)
    def mapping_registry(self: NemotronHBridge) -> MegatronMappingRegistry:
        missing = bridge.installed().conversion_mappings(self)
        return MegatronMappingRegistry(*stock_registry(self).mappings, *missing)

    NemotronHBridge.mapping_registry = mapping_registry


def patch_adapters() -> None:
    """Let LoRA find the sizes of the torch layers.

    Without Transformer Engine, Megatron-Core defines its layers as None. Megatron-Bridge finds the names, concludes
    that Transformer Engine is installed, and tests whether each layer is an instance of None. It also reads the size of
    the tensor-parallel group from the Mamba layers' projection, by a name that only Transformer Engine's has.
    """
    from megatron.bridge.peft import utils
    from megatron.core.tensor_parallel import ColumnParallelLinear

    utils.HAVE_TE = False
    tp_size = property(lambda self: self.tp_group.size())
    ColumnParallelLinear.tp_size = tp_size  # pyright: ignore[reportAttributeAccessIssue]


def patch_distributed_optimizer() -> None:
    """Let the distributed optimizer resume with torch's Adam.

    It reads the number of finished steps from the state of its parameters before they have any. It then gives all of
    them the same counter, which each would increase at every step, and overwrites that with the earlier value. The
    right number is in the parameter groups. (It also requires every rank to have a parameter to step, which is not
    changed here.)
    """
    from megatron.core.optimizer.distrib_optimizer import DistributedOptimizer

    optimizer_class: Any = DistributedOptimizer
    stock_state_dict, stock_load = optimizer_class.state_dict, optimizer_class.load_state_dict

    @functools.wraps(stock_state_dict)
    def state_dict(self: Any) -> Any:
        if isinstance(self.optimizer, torch.optim.Adam):
            finished = max((float(state["step"]) for state in self.optimizer.state.values()), default=0.0)
            for parameter in (p for group in self.optimizer.param_groups for p in group["params"]):
                if parameter not in self.optimizer.state:
                    moments = {key: torch.zeros_like(parameter) for key in ("exp_avg", "exp_avg_sq")}
                    self.optimizer.state[parameter] = {"step": torch.tensor(finished), **moments}
        return stock_state_dict(self)

    @functools.wraps(stock_load)
    def load_state_dict(self: Any, state: Any) -> None:
        stock_load(self, state)
        if isinstance(self.optimizer, torch.optim.Adam):
            for group in self.optimizer.param_groups:
                for parameter in group["params"]:
                    self.optimizer.state[parameter]["step"] = torch.tensor(float(group["step"]))

    optimizer_class.state_dict, optimizer_class.load_state_dict = state_dict, load_state_dict


def patch_training_loop() -> None:
    """Replace steps of starting a run and of saving a checkpoint."""
    from megatron.bridge.training import setup
    from megatron.bridge.utils import instantiate_utils
    from megatron.core.dist_checkpointing.strategies import filesystem_async

    # It refuses to start without CUDA unless this is set, and its caller cannot set it.
    setup.initialize_megatron = functools.partial(setup.initialize_megatron, allow_no_cuda=True)

    use_built_helpers()

    # Objects named in a checkpoint's run_config.yaml, such as the layer spec, are rebuilt from known packages only.
    instantiate_utils.register_allowed_target_prefix("nemotron.training.torch_layers.")
    instantiate_utils.register_allowed_target_prefix("nemotron.training.cpu.")

    # It starts a process for a queue that only asynchronous saves share with another process. The new process imports
    # the main script again, which takes as long as importing Megatron if the script does that.
    filesystem_async.get_write_results_queue = lambda mp_mode="spawn": queue.Queue()
