"""Write src/nemotron/training/megatron_keys.json: the settings of the installed Megatron-Bridge, by section.

    uv run python tools/list_megatron_keys.py            write the list
    uv run python tools/list_megatron_keys.py --check    fail if it is out of date

Importing Megatron takes many seconds; with this list a misspelt key is refused at once, on machines without it too.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path

TARGET = Path(__file__).parent.parent / "src/nemotron/training/megatron_keys.json"


def listed() -> str:
    """The settings as the file holds them: public field names of the config classes, sorted."""
    from nemotron.config import config_dir
    from nemotron.training import bridge, cpu
    from nemotron.training.config import MEGATRON_SECTIONS
    from nemotron.training.sections import field_types

    with cpu.backend():
        from megatron.bridge.data.builders.gpt_sft import GPTSFTDatasetConfig
        from megatron.bridge.training.comm_overlap import CommOverlapConfig
        from megatron.bridge.training.config import ProfilingConfig

        container = bridge.super_recipe(str(config_dir() / "tiny_model"), None)
        optional = {"comm_overlap": CommOverlapConfig, "profiling": ProfilingConfig, "dataset": GPTSFTDatasetConfig}
        owners = {name: optional.get(name) or type(getattr(container, name)) for name in MEGATRON_SECTIONS}
        sections = {
            name: sorted(key for key in field_types(owner) if not key.startswith("_")) for name, owner in owners.items()
        }
    sections["dataset"] = sorted([*sections["dataset"], "pad_seq_to_mult"])
    return json.dumps({"release": version("megatron-bridge"), "sections": sections}, indent=1) + "\n"


def main() -> None:
    """Write the list, or compare it."""
    text = listed()
    if "--check" not in sys.argv:
        TARGET.write_text(text, encoding="utf-8")
    elif TARGET.read_text(encoding="utf-8") != text:
        sys.exit(f"{TARGET} is out of date: run tools/list_megatron_keys.py")


if __name__ == "__main__":
    main()
