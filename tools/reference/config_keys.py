"""The keys of every config: of our sections from the dataclasses, of Megatron-Bridge's from the shipped files."""

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools.reference.tables import code, described_fields, sentence, spell_type, spell_value, table

from nemotron.config.located import plain
from nemotron.config.yaml_file import read_yaml
from nemotron.data_prep.config import DataPrepConfig
from nemotron.files.paths import config_dir
from nemotron.launch.profiles.profile import Profile
from nemotron.launch.profiles.tables import KEYS as PROFILE_KEYS
from nemotron.rollouts.config import RolloutsConfig
from nemotron.training.config import MEGATRON_SECTIONS, SftConfig
from nemotron.training.recipe.known_settings import SETTINGS_FILE, read_table

Files = dict[str, dict[str, Any]]
"""Name of a shipped config -> its values by dotted key."""
_HEADS = ("Key", "Type", "Default", "Other shipped configs", "Meaning")
_DEFAULT = "default"
_MOST_CHOICES = 8
"""More are not listed in a table."""


def data_prep_page() -> str:
    """Return the page of the data-prep config."""
    return _page("Data-prep config", "data_prep", DataPrepConfig, "nemotron super3 data prep sft", "data_prep")


def rollouts_page() -> str:
    """Return the page of the rollouts config."""
    return _page("Rollouts config", "rollouts", RolloutsConfig, "nemotron super3 data rollouts", "rollouts")


def sft_page() -> str:
    """Return the page of the training config: our sections, then the Megatron-Bridge settings that are shipped."""
    page = _page("Training config", ".", SftConfig, "nemotron super3 sft", "sft")
    files = _shipped(".")
    types = read_table(SETTINGS_FILE.read_text(encoding="utf-8"))
    newest = next(iter(types.values()))
    comments = _comments(config_dir() / "default.yaml")
    used = sorted(
        {
            key
            for values in files.values()
            for key in values
            if "." in key and key.partition(".")[0] in MEGATRON_SECTIONS
        }
    )
    rows = []
    for key in used:
        rows.append(
            (
                code(key),
                _megatron_type(newest.get(key, ("any",))),
                _default(files, key),
                _others(files, key),
                sentence(comments.get(key, "")),
            )
        )
    sections = ", ".join(code(name) for name in MEGATRON_SECTIONS)
    return (
        f"{page}\n\n## Megatron-Bridge's sections\n\nThe sections {sections} are "
        "Megatron-Bridge's own, with its names, over its recipe for the model. "
        "Any of its settings can be given; `nemotron config schema sft` lists them all. "
        f"These are set by the shipped configs:\n\n{table(_HEADS, rows)}"
    )


def profiles_page() -> str:
    """Return the page of the keys of env.toml."""
    rows = [
        (code(name), spell_type(hint).removesuffix(" or null"), _spell_default(Profile, name), text)
        for name, hint, text in described_fields(Profile)
        if name in PROFILE_KEYS
    ]
    listed = table(("Key", "Type", "Default", "Meaning"), rows)
    return (
        "# Profiles: env.toml\n\nA profile is a table of `env.toml`; [slurm.md](../howto/slurm.md) explains them. "
        f"Keys without a default leave the choice to the cluster.\n\n{listed}"
    )


def _page(title: str, folder: str, schema: type, command: str, kind: str) -> str:
    files = _shipped(folder)
    where = "config" if folder == "." else f"config/{folder}"
    rows = [
        (code(key), spell_type(hint), _default(files, key), _others(files, key), text)
        for key, hint, text in _keys(schema)
        if key not in MEGATRON_SECTIONS or key == "mixed_precision"
    ]
    return (
        f"# {title}\n\nOf `{command}`. Defaults are those of `{where}/default.yaml`; another file that ships sets what "
        f"the fourth column says. `nemotron config schema {kind}` prints the same for editors. "
        f"[configuration.md](configuration.md) has the rules of YAML files and overrides.\n\n{table(_HEADS, rows)}"
    )


def _keys(schema: type, prefix: str = "") -> Iterator[tuple[str, Any, str]]:
    """Yield dotted key, type and docstring of every leaf of a config."""
    for name, hint, text in described_fields(schema):
        inner = _section(hint)
        if inner is None:
            yield prefix + name, hint, text
        else:
            yield from _keys(inner, f"{prefix}{name}.")


def _section(hint: Any) -> type | None:
    """Return the dataclass that a key holds: alone, or where null is no section."""
    options = [hint, *getattr(hint, "__args__", ())] if not getattr(hint, "__origin__", None) else [hint]
    return next((one for one in options if isinstance(one, type) and dataclasses.is_dataclass(one)), None)


def _shipped(folder: str) -> Files:
    """Read the shipped files of a folder, as they are written: what they inherit is left out."""
    paths = sorted((config_dir() / folder).glob("*.yaml"), key=lambda path: (path.stem != _DEFAULT, path.stem))
    return {path.stem: dict(_flat(plain(read_yaml(path, path.name)))) for path in paths}


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _default(files: Files, key: str) -> str:
    return code(spell_value(files[_DEFAULT][key])) if key in files[_DEFAULT] else ""


def _others(files: Files, key: str) -> str:
    others = {name: values[key] for name, values in files.items() if name != _DEFAULT and key in values}
    return "; ".join(f"{name}: {code(spell_value(value))}" for name, value in others.items())


def _spell_default(schema: type, name: str) -> str:
    [field] = [field for field in dataclasses.fields(schema) if field.name == name]
    value = field.default
    return "" if value in (None, dataclasses.MISSING, ()) else code(spell_value(value))


def _megatron_type(choices: tuple[str, ...]) -> str:
    if len(choices) > _MOST_CHOICES:
        return "text"
    return " or ".join(_megatron_word(name) for name in choices)


def _megatron_word(name: str) -> str:
    words = {"int": "integer", "float": "number", "str": "text", "bool": "boolean"}
    return words.get(name, name if name in ("null", "any") else f"`{name.strip(chr(39))}`")


def _comments(path: Path) -> dict[str, str]:
    """Return the comment above or next to each key of a file's sections."""
    found: dict[str, str] = {}
    section, lines = "", []
    for line in path.read_text(encoding="utf-8").splitlines():
        if comment := re.match(r"\s*# ?(.*)", line):
            lines.append(comment[1])
        elif key := re.match(r"( *)(\w+):[^#]*(?:# (.*))?", line):
            section = section if key[1] else key[2]
            found[f"{section}.{key[2]}" if key[1] else key[2]] = " ".join([*lines, key[3] or ""]).strip()
            lines = []
        else:
            lines = []
    return found
