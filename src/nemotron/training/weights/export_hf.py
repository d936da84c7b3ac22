"""Export a Megatron checkpoint as a Hugging Face folder."""

import shutil
from pathlib import Path
from typing import Any

from nemotron.secrets import mask_text
from nemotron.training import bridge
from nemotron.training.checkpoints.checkpoint import Checkpoint
from nemotron.training.weights.export_process import load_for_export, run_export, start_export
from nemotron.training.weights.hf_files import write_model_files, write_tokenizer
from nemotron.training.weights.model_card import model_card

_MODULE = "nemotron.training.weights.export_hf"


def export_hf(
    checkpoint: Checkpoint,
    hf_out_dir: str | Path,
    hf_config_dir: str | Path,
    tokenizer_dir: str | Path,
) -> Path:
    """Write a checkpoint as a folder that `transformers` loads, with its tokenizer.

    The weights keep their type, and take host memory once. MTP weights are exported under the names of released
    checkpoints (`mtp.*`); transformers' NemotronH has no MTP and ignores them. Adapters are merged into the weights
    they were trained on.

    Without CUDA kernels, transformers 5.12.1 computes Mamba layers correctly only for sequences of up to `chunk_size`
    tokens. It also raises time steps to `time_step_min`, which training does not do; see config/tiny_model.

    The export runs in a separate process on the CPU with the torch layers, which also load checkpoints of the
    production stack. Call it once, not on every rank. It needs no process group or GPU, and does not touch those of the
    caller.

    Args:
        checkpoint: What to export, from `find_checkpoint`.
        hf_out_dir: The folder to write. An earlier export there is replaced once the new one is complete.
        hf_config_dir: Hugging Face id or folder whose config.json describes the model; it is copied unchanged. Its
            generation_config.json is copied too, with the token that ends a turn added to `eos_token_id`.
        tokenizer_dir: Hugging Face id or folder of the tokenizer, whose files are copied unchanged. A tokenizer without
            a chat template gets the bundled one.

    Raises:
        UserError: The checkpoint has adapters and their base model is gone, `hf_out_dir` contains anything
            but an earlier export, or the export failed; then the message has the end of its output.
    """
    what = f"Exporting {checkpoint.folder} to Hugging Face format"
    described, words = str(hf_config_dir), str(tokenizer_dir)
    return start_export(_MODULE, checkpoint, Path(hf_out_dir), described, words, config="config.json", what=what)


def convert(checkpoint: Checkpoint, hf_out_dir: Path, hf_config_dir: str, tokenizer_dir: str) -> None:
    """Convert as `export_hf` does, in this process.

    This process must not have a process group or Megatron state.
    """
    with load_for_export(checkpoint, hf_out_dir) as (model, unfinished):
        save_hf_folder(model, unfinished, hf_config_dir, tokenizer_dir)
        (unfinished / "README.md").write_text(mask_text(model_card(checkpoint, hf_config_dir)), encoding="utf-8")


def save_hf_folder(model: list[Any], folder: Path, hf_config_dir: str, tokenizer_dir: str) -> None:
    """Write a Megatron model, its configs and a tokenizer into an existing folder.

    Args:
        model: Megatron's list of model chunks.
        folder: The folder to write into.
        hf_config_dir: Hugging Face id or folder whose config.json describes the model.
        tokenizer_dir: Hugging Face id or folder of the tokenizer.
    """
    from megatron.bridge import AutoBridge
    from transformers import AutoConfig

    auto_bridge = AutoBridge.from_hf_config(AutoConfig.from_pretrained(hf_config_dir, trust_remote_code=False))
    bridge.installed().save_hf_weights(auto_bridge, model, folder)
    write_model_files(folder, hf_config_dir, end_ids=write_tokenizer(folder, tokenizer_dir))
    for weights in folder.glob("*.safetensors"):
        shutil.copymode(folder / "config.json", weights)  # safetensors lets only the owner read, whatever the umask


def main() -> None:
    """Run the process that `export_hf` starts.

    `python -m nemotron.training.weights.export_hf`.
    """
    run_export(_MODULE, __doc__, convert)


if __name__ == "__main__":
    main()
