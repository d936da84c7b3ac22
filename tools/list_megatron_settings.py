"""Write src/nemotron/training/recipe/megatron_settings.tsv: the settings of Megatron-Bridge, with their types.

    uv run python tools/list_megatron_settings.py            write the column of the installed release
    uv run python tools/list_megatron_settings.py --check    fail if that column is out of date

The table has a row per setting and a column per tested release. Run the tool once in the environment of each: for the
0.4 line, with `uv run --project .ci/bridge-0.4`. A dry run reads the table because importing Megatron takes too long.

A cell lists the types of the values that a release accepts: `int|null`, or `'nccl'|'ucc'` where it names the choices.
`any` is a type that YAML cannot spell or a reader cannot check. An empty cell: the release lacks the setting.
"""

import enum
import sys
import typing
from importlib.metadata import version
from typing import Any

from nemotron.training.recipe.known_settings import ANY, SETTINGS_FILE, Table, read_table

PLAIN = {bool: "bool", int: "int", float: "float", str: "str", type(None): "null"}


def installed_settings() -> dict[str, tuple[str, ...]]:
    """Return the installed release's settings: dotted key -> types, as the table spells them."""
    from nemotron.config import config_dir
    from nemotron.training import bridge, cpu
    from nemotron.training.config import MEGATRON_SECTIONS
    from nemotron.training.recipe.sections import field_types

    with cpu.backend():
        from megatron.bridge.training.comm_overlap import CommOverlapConfig
        from megatron.bridge.training.config import ProfilingConfig
        from megatron.bridge.training.mixed_precision import MIXED_PRECISION_RECIPES, MixedPrecisionConfig

        line = bridge.installed()
        container = line.super_recipe(str(config_dir() / "tiny_model"), None)
        # The recipe has these sections as None, as a name or as another class.
        owners: dict[str, type] = {
            "comm_overlap": CommOverlapConfig,
            "profiling": ProfilingConfig,
            "mixed_precision": MixedPrecisionConfig,
            "dataset": line.dataset_config(),
        }
        settings = {
            f"{section}.{key}": types_of(hint)
            for section in MEGATRON_SECTIONS
            for key, hint in field_types(owners.get(section) or type(getattr(container, section))).items()
            if not key.startswith("_")
        }
        settings["mixed_precision"] = tuple(repr(name) for name in sorted(MIXED_PRECISION_RECIPES))
    settings["dataset.pad_seq_to_mult"] = ("int",)  # a field of PackedSequenceSpecs, set through `make_packed_dataset`
    return settings


def types_of(hint: Any) -> tuple[str, ...]:
    """Spell an annotation as the table does."""
    from nemotron.training.recipe.sections import alternatives

    types: list[str] = []
    for option in alternatives(hint):
        if typing.get_origin(option) is typing.Literal:
            types += [repr(choice) for choice in typing.get_args(option)]
        elif isinstance(option, type) and issubclass(option, enum.Enum):
            types += [repr(name) for name in option.__members__]
        elif option in PLAIN:
            types.append(PLAIN[option])
        else:
            return (ANY,)
    return tuple(types)


def as_text(table: Table) -> str:
    """Return the table as the file holds it: the newest release first, settings sorted."""
    releases = sorted(table, key=lambda release: [int(part) for part in release.split(".")], reverse=True)
    keys = sorted({key for settings in table.values() for key in settings})
    rows = [("setting", *releases)]
    rows += [(key, *("|".join(table[release].get(key, ())) for release in releases)) for key in keys]
    return "".join("\t".join(row) + "\n" for row in rows)


def main() -> None:
    """Write the installed release's column, or compare it."""
    before = SETTINGS_FILE.read_text(encoding="utf-8") if SETTINGS_FILE.is_file() else "setting\n"
    text = as_text({**read_table(before), version("megatron-bridge"): installed_settings()})
    if "--check" not in sys.argv:
        SETTINGS_FILE.write_text(text, encoding="utf-8")
    elif before != text:
        sys.exit(f"{SETTINGS_FILE} is out of date: run tools/list_megatron_settings.py")


if __name__ == "__main__":
    main()
