"""Export a checkpoint to a folder in a separate process.

Exports of a whole model and of adapters share this: the checks, the process and how its folder appears.
"""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nemotron.errors import refuse
from nemotron.files.atomic_files import one_at_a_time, replace_folder_when_complete
from nemotron.training import bridge, torch_layers
from nemotron.training.checkpoints.checkpoint import METADATA, Checkpoint
from nemotron.training.checkpoints.foreign_code import find_code_to_load
from nemotron.training.checkpoints.hf_folder import check_replaceable
from nemotron.training.checkpoints.initial_weights import base_model_of
from nemotron.training.checkpoints.newest import find_latest
from nemotron.training.checkpoints.torch_files import count_model_bytes
from nemotron.training.checkpoints.verified_parts import verify_parts
from nemotron.training.weights.separate_process import run_module, separate_process

Convert = Callable[[Checkpoint, Path, str, str], None]
"""`convert(checkpoint, out_dir, model, tokenizer)`, called in a process without Megatron state."""


def start_export(
    module: str, checkpoint: Checkpoint, out_dir: Path, model: str, tokenizer: str, *, config: str, what: str
) -> Path:
    """Run the module that converts a checkpoint, and wait for its folder.

    Args:
        module: The module to run; its `main` calls `run_export`.
        checkpoint: What to convert.
        out_dir: The folder to write. An earlier export there is replaced once the new one is complete.
        model: Hugging Face id or folder that describes the model.
        tokenizer: Hugging Face id or folder of the tokenizer.
        config: A file that every such export has.
        what: The subject of the error if the export fails.

    Returns:
        The absolute path of the folder.

    Raises:
        UserError: Loading the checkpoint would run foreign code, the base model of its adapters is gone, `out_dir`
            contains anything but an earlier export, or the export failed.
    """
    refuse(find_code_to_load(base_model_of(checkpoint), checkpoint))
    target = out_dir.absolute()
    check_replaceable(target, config)
    arguments = [str(checkpoint.folder), str(target), model, tokenizer]
    run_module(module, arguments, what, target, count_model_bytes(checkpoint.folder / METADATA))
    return target


@contextmanager
def load_for_export(checkpoint: Checkpoint, out_dir: Path) -> Iterator[tuple[list[Any], Path]]:
    """Load the model of a checkpoint, and open the folder of its export.

    The folder appears once it is complete. If another export to it is running, wait for that one.

    Yields:
        Megatron's list of chunks (one), and the folder to write.
    """
    from nemotron.training import cpu
    from nemotron.training.weights.megatron_model import single_process_group

    lock = out_dir.with_name(f".{out_dir.name}.lock")
    with (
        one_at_a_time(lock),
        replace_folder_when_complete(out_dir) as unfinished,
        cpu.backend(),
        single_process_group(),
    ):
        yield load_whole_model(checkpoint), unfinished


def run_export(module: str, description: str | None, convert: Convert) -> None:
    """Convert the checkpoint on the command line, in the process of `start_export`."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument("checkpoint", type=Path, help="folder of a Megatron checkpoint")
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("model", help="Hugging Face id or folder with the config.json of the model")
    parser.add_argument("tokenizer", help="Hugging Face id or folder of the tokenizer")
    arguments = parser.parse_args()
    with separate_process():
        convert(find_latest(arguments.checkpoint), arguments.out, arguments.model, arguments.tokenizer)


def load_whole_model(checkpoint: Checkpoint) -> list[Any]:
    """Load the model of a checkpoint with the torch layers, as a list of one chunk.

    For a checkpoint of adapters, the base model is loaded and the adapters are added to it. They stay separate from its
    weights; Megatron-Bridge merges them during conversion (`merge_adapter_weights`).

    Call it inside `cpu.backend()` and `single_process_group()`.

    Raises:
        UserError: The base model of the adapters is gone.
    """
    base = base_model_of(checkpoint)
    if base is None:
        return _load(checkpoint.folder)
    from megatron.bridge.utils.instantiate_utils import instantiate

    model = _load(base.folder)
    peft: Any = instantiate(checkpoint.saved["peft"])
    model = peft(model, training=False)
    peft.set_params_to_save(model)
    bridge.installed().load_adapters(model, checkpoint.folder, peft)
    return model


def _load(iteration_dir: Path) -> list[Any]:
    from megatron.bridge.training.model_load_save import load_megatron_model

    bridge.installed().check_loadable(iteration_dir)
    verify_parts()
    # The overrides are meant for parallel sizes, but accept any field of the model's config.
    overrides: Any = torch_layers.provider_fields()
    model: Any = load_megatron_model(
        str(iteration_dir), use_cpu_init=True, skip_temp_dist_context=True, mp_overrides=overrides
    )
    return model
