"""Export the adapters of a checkpoint as a folder for peft."""

import json
from pathlib import Path
from typing import Any

from nemotron.errors import UserError
from nemotron.files.paths import is_path
from nemotron.files.regular_files import read_text
from nemotron.secrets import mask_text
from nemotron.training.checkpoints.checkpoint import Checkpoint
from nemotron.training.checkpoints.hf_folder import ADAPTER_CONFIG
from nemotron.training.weights.export_process import load_for_export, run_export, start_export
from nemotron.training.weights.hf_files import write_tokenizer
from nemotron.training.weights.model_card import model_card

WEIGHTS = "adapter_model.safetensors"
_MODULE = "nemotron.training.weights.export_adapter"


def export_adapter(
    checkpoint: Checkpoint, out_dir: str | Path, base_model: str | Path, tokenizer_dir: str | Path
) -> Path:
    """Write the LoRA adapters of a checkpoint as a folder that peft loads.

    It runs in a separate process on the CPU, like `export_hf`.

    Args:
        checkpoint: What to export, from `find_checkpoint`.
        out_dir: The folder to write. An earlier export there is replaced once the new one is complete.
        base_model: Hugging Face id or folder of the model that the adapters were trained on; the export records it.
        tokenizer_dir: Hugging Face id or folder of the tokenizer, which is copied.

    Raises:
        UserError: The checkpoint has no LoRA adapters, `out_dir` contains anything but an earlier export, or the export
            failed.
    """
    check_adapters_of(checkpoint)
    named = str(Path(base_model).absolute()) if is_path(str(base_model)) else str(base_model)
    what = f"Exporting the adapters of {checkpoint.folder}"
    return start_export(_MODULE, checkpoint, Path(out_dir), named, str(tokenizer_dir), config=ADAPTER_CONFIG, what=what)


def check_adapters_of(checkpoint: Checkpoint) -> None:
    """Refuse a checkpoint without adapters, or with adapters other than LoRA.

    Raises:
        UserError: The checkpoint is refused.
    """
    peft = checkpoint.saved.get("peft")
    if peft is None:
        raise UserError(
            f"{checkpoint.folder} has a whole model and no adapters, because all weights were trained.",
            "Export the model: remove --adapter (convert_to_hf.adapter).",
        )
    if not str(peft.get("_target_", "")).endswith(".LoRA"):
        kind = str(peft.get("_target_", "")).rpartition(".")[2]
        raise UserError(
            f"{checkpoint.folder} has {kind} adapters; only LoRA adapters can be exported alone.",
            "Export the merged model: remove --adapter (convert_to_hf.adapter).",
        )


def convert(checkpoint: Checkpoint, out_dir: Path, base_model: str, tokenizer_dir: str) -> None:
    """Convert as `export_adapter` does, in this process.

    This process must not have a process group or Megatron state.
    """
    with load_for_export(checkpoint, out_dir) as (model, unfinished):
        _save(model, unfinished, checkpoint, base_model)
        write_tokenizer(unfinished, tokenizer_dir)
        card = model_card(checkpoint, base_model, adapter=True)
        (unfinished / "README.md").write_text(mask_text(card), encoding="utf-8")


def _save(model: list[Any], folder: Path, checkpoint: Checkpoint, base_model: str) -> None:
    from megatron.bridge import AutoBridge
    from megatron.bridge.utils.instantiate_utils import instantiate
    from safetensors.torch import load_file, save_file
    from transformers import AutoConfig

    from nemotron.training.weights.peft_folder import adapter_config, for_peft

    peft = checkpoint.saved["peft"]
    _take_off_mtp(model)
    bridge: Any = AutoBridge.from_hf_config(AutoConfig.from_pretrained(base_model, trust_remote_code=False))
    bridge.save_hf_adapter(model, folder, instantiate(peft), base_model_name_or_path=base_model, show_progress=False)
    adapters, merged = load_file(folder / WEIGHTS), _merge_whole(model)
    written = json.loads(read_text(folder / ADAPTER_CONFIG))
    by_layer = any("layers" in target for target in peft["target_modules"])
    config = adapter_config(written, adapters, merged, by_layer=by_layer)
    (folder / ADAPTER_CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    save_file(for_peft(adapters, merged), folder / WEIGHTS, metadata={"format": "pt"})
    (folder / WEIGHTS).chmod((folder / ADAPTER_CONFIG).stat().st_mode)  # safetensors lets only the owner read


def _take_off_mtp(model: list[Any]) -> None:
    """Remove the adapters of multi-token prediction.

    They are not exported, and the 0.4 line has no names for them.
    """
    for name, module in list(model[0].named_modules()):
        if name.startswith("mtp.") and hasattr(module, "to_wrap"):
            parent, _, last = name.rpartition(".")
            setattr(model[0].get_submodule(parent), last, module.to_wrap)


def _merge_whole(model: list[Any]) -> dict[str, Any]:
    """Merge the adapters that peft does not apply (see `peft_folder`).

    Returns:
        Module -> W + alpha/dim B A.
    """
    from nemotron.training.weights.peft_folder import WHOLE

    merged = {}
    for name, module in model[0].named_modules():
        adapter = getattr(module, "adapter", None)
        if name.startswith("decoder.layers.") and name.endswith(f".mixer.{WHOLE}") and adapter is not None:
            weight, scale = module.to_wrap.weight, adapter.alpha / adapter.dim
            update = scale * adapter.linear_out.weight.float() @ adapter.linear_in.weight.float()
            merged[name.replace("decoder.", "model.", 1)] = (weight.float() + update).to(weight.dtype).detach()
    return merged


def main() -> None:
    """Run the process that `export_adapter` starts.

    `python -m nemotron.training.weights.export_adapter`.
    """
    run_export(_MODULE, __doc__, convert)


if __name__ == "__main__":
    main()
