"""Import a Hugging Face folder as a Megatron checkpoint to fine-tune."""

import argparse
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nemotron.errors import UserError, refuse
from nemotron.files.atomic_files import one_at_a_time, replace_folder_when_complete
from nemotron.training.checkpoints.hf_folder import list_few
from nemotron.training.checks.model import check_weights
from nemotron.training.parallelism.model_shape import read_model_config
from nemotron.training.weights.separate_process import run_module, separate_process


def import_hf(hf_dir: str | Path, out_dir: str | Path, *, mtp: bool = True) -> Path:
    """Write the weights of a Hugging Face model as a Megatron checkpoint.

    The weights keep their type, and take host memory once. The import runs in a separate process on the CPU. The
    checkpoint loads into any parallel layout, with the torch layers and with the production stack.

    Args:
        hf_dir: Folder with config.json and safetensors of a NemotronHForCausalLM, with MTP weights.
        out_dir: The checkpoint, a value for `checkpoint.pretrained_checkpoint`. It appears once it is complete.
        mtp: False omits the multi-token-prediction layers.

    Raises:
        UserError: `hf_dir` has no model or lacks weights, `out_dir` is not empty, or the import failed; then the
            message has the end of its output.
    """
    source, target = Path(hf_dir), Path(out_dir)
    if not (source / "config.json").is_file() or not any(source.glob("*.safetensors")):
        raise UserError(
            f"{source} is not a Hugging Face model: it needs config.json and *.safetensors; pickles are not read.",
            "Download one first: hf download nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-BF16 --local-dir FOLDER",
        )
    _refuse_filled(target)
    described, _ = read_model_config(source)
    has_mtp = described is None or bool(described.get("num_nextn_predict_layers"))
    refuse(check_weights(source, mtp=mtp and has_mtp, way_out="import it without those layers: --no-mtp."))
    needs = sum(file.stat().st_size for file in source.glob("*.safetensors"))
    arguments = [str(source.absolute()), str(target.absolute()), *([] if mtp else ["--no-mtp"])]
    run_module("nemotron.training.weights.import_hf", arguments, f"Importing {source}", target, needs)
    return target


def _refuse_filled(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is not empty.", "Use a new folder; nothing is overwritten.")


@contextmanager
def fill_new_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes `folder`.

    If another import to it is running, wait for that one.

    Raises:
        UserError: The other one has filled it.
    """
    with one_at_a_time(folder.with_name(f".{folder.name}.lock")):
        _refuse_filled(folder)
        with replace_folder_when_complete(folder) as unfinished:
            yield unfinished


def convert(hf_dir: Path, out_dir: Path, *, mtp: bool = True) -> None:
    """Convert as `import_hf` does, in this process.

    This process must not have a process group or Megatron state.
    """
    from nemotron.training import cpu, torch_layers
    from nemotron.training.bridge.provider import leave_out_mtp, use_float32
    from nemotron.training.weights.megatron_model import hf_provider, save_model, single_process_group

    with fill_new_folder(out_dir) as unfinished, cpu.backend():
        import torch

        provider = hf_provider(hf_dir, load_weights=True)
        torch_layers.use_torch_layers(provider)
        if provider.params_dtype == torch.float32:
            use_float32(provider)
        provider.use_cpu_initialization = True
        if not mtp:
            leave_out_mtp(provider)
        provider.finalize()
        with single_process_group():
            with all_found(hf_dir):
                model: Any = provider.provide_distributed_model(wrap_with_ddp=False, use_cpu_initialization=True)
            save_model(model, unfinished)


def main() -> None:
    """Run the process that `import_hf` starts.

    `python -m nemotron.training.weights.import_hf FOLDER OUT`.
    """
    parser = argparse.ArgumentParser(prog="python -m nemotron.training.weights.import_hf", description=__doc__)
    parser.add_argument("folder", type=Path, help="Hugging Face folder")
    parser.add_argument("out", type=Path, help="checkpoint to write")
    parser.add_argument("--no-mtp", action="store_true", help="leave the multi-token-prediction layers out")
    arguments = parser.parse_args()
    with separate_process():
        convert(arguments.folder, arguments.out, mtp=not arguments.no_mtp)


_NOT_FOUND = re.compile(r"Can't find (?:the following HF parameters in hf_keys: )?(.+?)(?: in hf_keys)?$")


@contextmanager
def all_found(folder: Path) -> Iterator[None]:
    """Check that Megatron-Bridge finds all weights of a folder in the `with` block.

    Raises:
        UserError: Megatron-Bridge did not find some weights; the message lists them.
    """
    warnings = _Warnings()
    converter = logging.getLogger("megatron.bridge.models.conversion.model_bridge")
    level = converter.level
    converter.addHandler(warnings)
    converter.setLevel(logging.WARNING)  # even if all loggers are set to another level
    try:
        yield
    finally:
        converter.setLevel(level)
        converter.removeHandler(warnings)
    if warnings.missing:
        raise UserError(
            f"{folder} has no weights {list_few(warnings.missing)}, which its config.json requires.",
            "Download it again, or correct its config.json.",
        )


class _Warnings(logging.Handler):
    """Collects the weights that Megatron-Bridge reports as missing."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.missing: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if found := _NOT_FOUND.search(record.getMessage()):
            self.missing.append(found[1])


if __name__ == "__main__":
    main()
