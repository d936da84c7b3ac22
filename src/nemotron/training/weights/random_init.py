"""Make a starting checkpoint of random weights, for the tiny model and tests."""

import argparse
import hashlib
import json
from pathlib import Path

from nemotron.files.atomic_files import one_at_a_time, replace_folder_when_complete
from nemotron.files.regular_files import read_text
from nemotron.training import bridge, cpu
from nemotron.training.checkpoints.newest import find_newest
from nemotron.training.weights.megatron_model import save_random_model
from nemotron.training.weights.separate_process import run_module, separate_process

# Part of the checkpoint's name. Increase it when the same config and seed give other weights.
RECIPE_VERSION = 1


def make_starting_checkpoint(hf_config_dir: str | Path, out_dir: str | Path, seed: int) -> Path:
    """Make a checkpoint of random weights for an architecture, on first use.

    Weights are drawn as Megatron draws them (normal, `initializer_range`), so that the first loss is close to
    ln(vocabulary size). They are made on the CPU. Without a GPU this happens in this process, which must have the CPU
    backend active and no process group yet. With a GPU it happens in a separate process, because Megatron keeps objects
    of the first device that it uses, such as streams.

    Args:
        hf_config_dir: Folder with the config.json of a Hugging Face NemotronH model.
        out_dir: Folder of starting checkpoints. The checkpoint's folder is named after the contents of config.json, the
            seed and the release line of Megatron-Bridge, so that a change of these makes a new checkpoint.
        seed: The seed of the weights. The same config, seed, line and torch release give the same weights.

    Returns:
        The checkpoint's folder, a value for `checkpoint.pretrained_checkpoint`. It appears once it is complete; of
        several processes, one makes it and the others wait. A damaged one is made again.
    """
    folder = start_folder(hf_config_dir, out_dir, seed)
    if _is_usable(folder):
        return folder
    with one_at_a_time(folder.with_suffix(".lock")):
        if _is_usable(folder):
            return folder
        with replace_folder_when_complete(folder) as unfinished:
            if cpu.is_needed():
                save_random_model(Path(hf_config_dir), unfinished, seed)
            else:
                arguments, what = (
                    [str(hf_config_dir), str(unfinished), str(seed)],
                    "Making random weights to start from",
                )
                run_module("nemotron.training.weights.random_init", arguments, what, folder)
    return folder


def _is_usable(folder: Path) -> bool:
    return folder.is_dir() and not find_newest(folder).skipped


def start_folder(hf_config_dir: str | Path, out_dir: str | Path, seed: int) -> Path:
    """Return the folder that `make_starting_checkpoint` uses for these arguments."""
    config_file = Path(hf_config_dir) / "config.json"
    key = json.dumps([RECIPE_VERSION, bridge.installed().NAME, seed, read_text(config_file)])
    return Path(out_dir) / f"start-{hashlib.sha256(key.encode()).hexdigest()[:12]}"


def main() -> None:
    """Run the process that `make_starting_checkpoint` starts.

    `python -m nemotron.training.weights.random_init`.
    """
    parser = argparse.ArgumentParser(prog="python -m nemotron.training.weights.random_init", description=__doc__)
    parser.add_argument("config", type=Path, help="folder with config.json")
    parser.add_argument("out", type=Path, help="checkpoint to write")
    parser.add_argument("seed", type=int)
    arguments = parser.parse_args()
    with separate_process(), cpu.backend():
        save_random_model(arguments.config, arguments.out, arguments.seed)


if __name__ == "__main__":
    main()
