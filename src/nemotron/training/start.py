"""A starting checkpoint of random weights, for models that have no released ones (the tiny model, tests)."""

import argparse
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from nemotron.training import bridge, cpu, torch_layers
from nemotron.training.own_process import run_module
from nemotron.training.precision import use_float32

# Part of the checkpoint's name: raise it when the same config and seed come to mean other weights.
RECIPE_VERSION = 1


def make_starting_checkpoint(hf_config_dir: str | Path, out_dir: str | Path, seed: int) -> Path:
    """Random weights for the architecture in `hf_config_dir`, as a checkpoint to fine-tune from; made on first use.

    Args:
        hf_config_dir: folder with the config.json of a Hugging Face NemotronH model.
        out_dir: where starting checkpoints are kept. The checkpoint's own folder is named after the contents of
            config.json, the seed and the release line of Megatron-Bridge, so another one never meets an old checkpoint.
        seed: of the weights. The same config, seed, line and torch release give the same weights.

    Returns the checkpoint's folder, a value for `checkpoint.pretrained_checkpoint`. It appears under that name only
    when complete; processes that ask at the same time wait for the one that makes it. Weights are drawn as Megatron
    draws them (normal, `initializer_range`), so the first loss is close to ln(vocabulary size).

    Weights are made on the CPU. Where there is no GPU, that is in this process, with the CPU backend active and before
    Megatron's own process group exists; else in a process of its own, since Megatron keeps things made for one device
    (streams, say) that are of no use to another.
    """
    folder = start_folder(hf_config_dir, out_dir, seed)
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(folder.with_suffix(".lock")):
        if not folder.is_dir():
            unfinished = folder.with_suffix(".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            if cpu.is_needed():
                _save_random_model(Path(hf_config_dir), unfinished, seed)
            else:
                arguments = [str(hf_config_dir), str(unfinished), str(seed)]
                run_module("nemotron.training.start", arguments, "Making random weights to start from")
            unfinished.rename(folder)
    return folder


def start_folder(hf_config_dir: str | Path, out_dir: str | Path, seed: int) -> Path:
    """Where `make_starting_checkpoint` with the same arguments leaves it, or left it."""
    config_file = Path(hf_config_dir) / "config.json"
    key = json.dumps([RECIPE_VERSION, bridge.installed().NAME, seed, config_file.read_text()])
    return Path(out_dir) / f"start-{hashlib.sha256(key.encode()).hexdigest()[:12]}"


def hf_provider(hf_dir: str | Path, load_weights: bool = False) -> Any:
    """The Megatron-Bridge model provider for a folder with a Hugging Face config.json.

    Args:
        hf_dir: the folder.
        load_weights: whether a model that it provides gets the folder's weights, too.
    """
    from megatron.bridge import AutoBridge
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(hf_dir)
    auto_bridge = AutoBridge.from_hf_pretrained(str(hf_dir)) if load_weights else AutoBridge.from_hf_config(config)
    provider = auto_bridge.to_megatron_provider(load_weights=load_weights)
    bridge.installed().complete_provider(provider, config)
    return provider


def leave_out_mtp(provider: Any) -> None:
    """Have `provider`, a model provider, make a model without multi-token prediction.

    `mtp_num_layers` alone does not: while there is a pattern for the layers, there are layers
    (HybridModelProvider.finalize, megatron/bridge/models/hybrid/hybrid_provider.py).
    """
    provider.mtp_num_layers = None
    provider.mtp_hybrid_override_pattern = None
    provider.mtp_use_repeated_layer = False
    provider.keep_mtp_spec_in_bf16 = False


@contextmanager
def single_process_group(seed: int = 0) -> Iterator[None]:
    """A process group of this process alone, whatever launched it, with Megatron's parallel state at size one.

    Uses neither ports nor the launcher's environment, so each rank of a job can have its own. Random numbers inside
    follow from `seed`; torch's CPU generator is left as it was found.
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
        # Saving leaves global state behind that a training run in this process would trip over.
        destroy_global_state()
        torch.distributed.destroy_process_group()


def _save_random_model(hf_config_dir: Path, folder: Path, seed: int) -> None:
    from megatron.bridge.training.model_load_save import save_megatron_model

    provider = hf_provider(hf_config_dir)
    torch_layers.use_torch_layers(provider)
    use_float32(provider)
    provider.use_cpu_initialization = True
    provider.finalize()
    with single_process_group(seed):
        model = provider.provide_distributed_model(wrap_with_ddp=False, use_cpu_initialization=True)
        save_megatron_model(model, folder)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold `path` alone among processes, on shared file systems too; released when the process dies."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def main() -> None:
    """`python -m nemotron.training.start FOLDER OUT SEED`, the process that `make_starting_checkpoint` starts."""
    parser = argparse.ArgumentParser(prog="python -m nemotron.training.start", description=__doc__)
    parser.add_argument("config", type=Path, help="folder with config.json")
    parser.add_argument("out", type=Path, help="checkpoint to write")
    parser.add_argument("seed", type=int)
    arguments = parser.parse_args()
    with cpu.backend():
        _save_random_model(arguments.config, arguments.out, arguments.seed)


if __name__ == "__main__":
    main()
