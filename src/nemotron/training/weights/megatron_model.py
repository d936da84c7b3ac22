"""Make a Megatron model of a Hugging Face folder, in a process group of one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from nemotron.training import bridge, torch_layers
from nemotron.training.bridge.provider import use_float32
from nemotron.training.checkpoints.fingerprints import fingerprint_saves
from nemotron.training.reporting.full_disk import explain_full_disk_of


def hf_provider(hf_dir: str | Path, load_weights: bool = False) -> Any:
    """Make the model provider for a folder with a Hugging Face config.json.

    Args:
        hf_dir: The folder.
        load_weights: Whether the provider also loads the folder's weights.
    """
    from megatron.bridge import AutoBridge
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(hf_dir, trust_remote_code=False)
    auto_bridge = AutoBridge.from_hf_pretrained(str(hf_dir)) if load_weights else AutoBridge.from_hf_config(config)
    provider = auto_bridge.to_megatron_provider(load_weights=load_weights)
    bridge.installed().complete_provider(provider, config)
    return provider


@contextmanager
def single_process_group(seed: int = 0) -> Iterator[None]:
    """Make a process group of one process, with Megatron's parallel state.

    It uses neither ports nor the launcher's environment, so that each rank of a job can have one. Random numbers in the
    `with` block depend on `seed`; torch's CPU generator is restored afterwards.
    """
    from megatron.bridge.training.initialize import destroy_global_state
    from megatron.core import parallel_state
    from megatron.core.tensor_parallel import model_parallel_cuda_manual_seed

    if torch.distributed.is_initialized():
        raise RuntimeError("A process group exists already.")
    store = torch.distributed.HashStore()  # pyright: ignore[reportPrivateImportUsage]
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        parallel_state.initialize_model_parallel()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model_parallel_cuda_manual_seed(seed)
            yield
    finally:
        # Saving leaves global state that would break a training run in this process.
        destroy_global_state()
        torch.distributed.destroy_process_group()


def save_random_model(hf_config_dir: Path, folder: Path, seed: int) -> None:
    """Save a model of random weights, in float32 and on the CPU."""
    provider = hf_provider(hf_config_dir)
    torch_layers.use_torch_layers(provider)
    use_float32(provider)
    provider.use_cpu_initialization = True
    provider.finalize()
    with single_process_group(seed):
        model = provider.provide_distributed_model(wrap_with_ddp=False, use_cpu_initialization=True)
        save_model(model, folder)


def save_model(model: list[Any], folder: Path) -> None:
    """Save a model without an optimizer, with fingerprints of its files.

    Raises:
        UserError: The disk is full.
    """
    from megatron.bridge.training.config import ConfigContainer
    from megatron.bridge.training.model_load_save import save_megatron_model

    fingerprint_saves(ConfigContainer)
    needed = sum(weight.numel() * weight.element_size() for chunk in model for weight in chunk.parameters())
    with explain_full_disk_of(folder, needed):
        save_megatron_model(model, folder)
