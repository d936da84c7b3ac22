"""Write the installed Megatron-Bridge's settings, by section, into src/nemotron/training/recipe/megatron_keys.json.

    uv run python tools/list_megatron_keys.py            write them
    uv run python tools/list_megatron_keys.py --check    fail if they are out of date

The file has the settings of every tested release; those of the others stay. `uv run --project .ci/bridge-0.4` in place
of `uv run` is for the 0.4 line. Importing Megatron takes many seconds; with these lists a misspelt key is refused at
once, on machines without it too.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path

TARGET = Path(__file__).parent.parent / "src/nemotron/training/recipe/megatron_keys.json"


def listed() -> dict[str, list[str]]:
    """Section -> public field names of its config class, sorted."""
    from nemotron.config import config_dir
    from nemotron.training import bridge, cpu
    from nemotron.training.config import MEGATRON_SECTIONS
    from nemotron.training.recipe.assign import field_types

    with cpu.backend():
        from megatron.bridge.training.comm_overlap import CommOverlapConfig
        from megatron.bridge.training.config import ProfilingConfig
        from megatron.bridge.training.mixed_precision import MixedPrecisionConfig

        line = bridge.installed()
        container = line.super_recipe(str(config_dir() / "tiny_model"), None)
        # Absent, named, or of another kind in the recipe.
        otherwise = {
            "comm_overlap": CommOverlapConfig,
            "profiling": ProfilingConfig,
            "mixed_precision": MixedPrecisionConfig,
            "dataset": line.dataset_config(),
        }
        owners = {name: otherwise.get(name) or type(getattr(container, name)) for name in MEGATRON_SECTIONS}
        sections = {
            name: sorted(key for key in field_types(owner) if not key.startswith("_")) for name, owner in owners.items()
        }
    sections["dataset"] = sorted([*sections["dataset"], "pad_seq_to_mult"])
    return sections


def main() -> None:
    """Write the lists, or compare them."""
    before = TARGET.read_text(encoding="utf-8")
    releases = {**json.loads(before), version("megatron-bridge"): listed()}
    text = json.dumps(dict(sorted(releases.items())), indent=1) + "\n"
    if "--check" not in sys.argv:
        TARGET.write_text(text, encoding="utf-8")
    elif before != text:
        sys.exit(f"{TARGET} is out of date: run tools/list_megatron_keys.py")


if __name__ == "__main__":
    main()
