"""Write src/nemotron/training/recipe/megatron_types.json: what kind of value each setting of Megatron-Bridge takes.

    uv run python tools/list_megatron_types.py            write it
    uv run python tools/list_megatron_types.py --check    fail if it is out of date

Only what YAML can spell and a reader can check is listed: numbers, text, truth values, choices. With it a dry run
refuses `optimizer.lr=abc` without importing Megatron, which takes many seconds.
"""

import enum
import json
import sys
import typing
from importlib.metadata import version
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parent.parent / "src/nemotron/training/recipe/megatron_types.json"
PLAIN = {bool: "bool", int: "int", float: "float", str: "str", type(None): "null"}


def listed() -> str:
    """The types as the file holds them: dotted key -> what its value may be."""
    from nemotron.config import config_dir
    from nemotron.training import bridge, cpu
    from nemotron.training.config import MEGATRON_SECTIONS
    from nemotron.training.recipe.assign import field_types

    with cpu.backend():
        from megatron.bridge.training.comm_overlap import CommOverlapConfig
        from megatron.bridge.training.config import ProfilingConfig
        from megatron.bridge.training.mixed_precision import MIXED_PRECISION_RECIPES

        line = bridge.installed()
        container = line.super_recipe(str(config_dir() / "tiny_model"), None)
        optional = {"comm_overlap": CommOverlapConfig, "profiling": ProfilingConfig, "dataset": line.dataset_config()}
        types: dict[str, Any] = {}
        for section in MEGATRON_SECTIONS:
            owner = optional.get(section) or type(getattr(container, section))
            for key, hint in field_types(owner).items():
                if not key.startswith("_") and (kinds := kinds_of(hint)):
                    types[f"{section}.{key}"] = kinds
        types["mixed_precision"] = [{"choices": sorted(MIXED_PRECISION_RECIPES)}]
    lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(kinds)}" for key, kinds in types.items())
    return f'{{\n "release": {json.dumps(version("megatron-bridge"))},\n "types": {{\n{lines}\n }}\n}}\n'


def kinds_of(hint: Any) -> list[Any]:
    """What the file says of an annotation; nothing when it allows what cannot be checked."""
    from nemotron.training.recipe.assign import alternatives

    kinds: list[Any] = []
    for option in alternatives(hint):
        if typing.get_origin(option) is typing.Literal:
            kinds.append({"choices": [str(choice) for choice in typing.get_args(option)]})
        elif isinstance(option, type) and issubclass(option, enum.Enum):
            kinds.append({"choices": list(option.__members__)})
        elif option in PLAIN:
            kinds.append(PLAIN[option])
        else:
            return []
    return kinds


def main() -> None:
    """Write the types, or compare them."""
    text = listed()
    if "--check" not in sys.argv:
        TARGET.write_text(text, encoding="utf-8")
    elif TARGET.read_text(encoding="utf-8") != text:
        sys.exit(f"{TARGET} is out of date: run tools/list_megatron_types.py")


if __name__ == "__main__":
    main()
