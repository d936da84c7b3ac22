"""Read the blend file: the datasets, and the share of the mix that each gets.

{"datasets": [{"name": "chat", "path": "chat.jsonl", "weight": 2.0}, ...]}       split by ratio
{"train": [...], "valid": [...], "test": [...]}                                  split by hand

A domain without public data has a null path, and says what data to bring. Keys that begin with an underscore are
comments. Chat data may be given instead of a blend file; it is a blend of one dataset.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_args

import orjson

from nemotron.data_prep.config import SPLITS, RowFormat
from nemotron.data_prep.domain_checks.look import CHECKS
from nemotron.data_prep.sources.chat_data import is_chat_data
from nemotron.errors import UserError, did_you_mean
from nemotron.files.paths import expand_home
from nemotron.files.regular_files import read_bytes


@dataclass(frozen=True)
class Dataset:
    """One entry of a blend. None falls back to the config."""

    name: str
    path: str
    """A file, a folder or a glob, relative to the blend file, also s3:// and gs://; or hf://org/name[@revision]."""
    subset: str | None = None
    """Subset of a dataset on the hub. Default: its default or only one."""
    split: str | None = None
    """Split of a dataset on the hub. Default: `train` if it exists, otherwise all."""
    weight: float | None = None
    """Share of the conversations in the mix, relative to the other weights. Default: all conversations."""
    repeat: bool = False
    """Conversations may be used more than once to reach that share."""
    filter: str | None = None
    """Overrides the config's used_in_filter."""
    format: RowFormat | None = None
    messages_field: str | None = None
    tools_field: str | None = None
    recursive: bool = False
    """Search the subfolders of a folder too."""
    goes_to: str | None = None
    """The split, if the blend lists its splits."""
    group: str | None = None
    domain: str | None = None
    """What it teaches; several datasets may share a domain. Like group, scale and source, it is only shown."""
    scale: str | None = None
    source: str | None = None
    reasoning: dict[str, Any] | None = None
    """Overrides keys of the config's `reasoning`; {"effort": "low"} marks short thoughts."""
    checks: list[str] | None = None
    """Which checks to count in the report; see domain_checks/."""
    bring: str | None = None
    """What data to bring, if there is no public data."""

    @property
    def has_low_effort(self) -> bool:
        """Whether its conversations carry the low-effort flag."""
        return self.reasoning is not None and self.reasoning.get("effort") == "low"

    @property
    def is_missing(self) -> bool:
        """Whether it is a domain of the blend without data."""
        return not self.path


@dataclass(frozen=True)
class Blend:
    """A checked blend. Dataset paths are absolute, and names are unique."""

    path: str
    """The blend file, or the data given instead."""
    datasets: tuple[Dataset, ...]
    """Datasets with data."""
    missing: tuple[Dataset, ...] = ()
    """Domains without data; their path is empty."""
    public_share: float | None = None
    """The share of the datasets without `bring` in the documented blend, if the blend states it."""
    unused_keys: tuple[str, ...] = ()
    """Ignored keys, which do not affect the mix: `text_field of datasets[0]`."""


LARGEST_BLEND = 64 * 2**20
"""The most bytes of a blend file; one that lists 100,000 files has 10 million."""
LISTS_DATASETS = "Give a JSON file that lists the datasets, or chat data: a file, a folder, a glob or a URL."
KEYS = tuple(field.name for field in fields(Dataset) if field.name != "goes_to")
DESCRIPTIVE_KEYS = frozenset({
    "text_field", "category", "citation", "comment", "comments", "description", "homepage", "language", "license",
    "note", "notes", "tags", "url", "version",
})  # fmt: skip
"""Keys of other tools' blends that have no effect here. The plan and the summary list them."""


def read_blend(path: str | Path) -> Blend:
    """Read a blend file, or make a blend of one dataset from chat data.

    Args:
        path: A blend file; or chat data, as a file, a folder, a glob, or an hf://, s3:// or gs:// URL.

    Raises:
        UserError: The path does not exist, is neither, or is a broken blend file; the message names the entry at fault.
    """
    if "://" in str(path):
        return _blend_of_one(str(path))
    path = Path(path).absolute()
    if is_chat_data(path):
        return _blend_of_one(str(path))
    if not path.is_file():
        raise _no_blend(path)
    if (size := path.stat().st_size) > LARGEST_BLEND:
        raise UserError(f"{path} has {size:,} bytes, and a blend at most {LARGEST_BLEND:,}.", LISTS_DATASETS)
    try:
        content = orjson.loads(read_bytes(path))
    except orjson.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno} is not valid JSON: {error.msg}.", "Fix the blend file.") from None
    unused: list[str] = []
    content = _without_unused(content, "the blend", unused)
    entries = [
        (where, _without_unused(entry, where, unused), goes_to) for where, entry, goes_to in _entries(path, content)
    ]
    listed = tuple(_dataset(path, where, entry, goes_to) for where, entry, goes_to in entries)
    _check(path, listed)
    datasets = tuple(dataset for dataset in listed if not dataset.is_missing)
    missing = tuple(dataset for dataset in listed if dataset.is_missing)
    if not datasets:
        raise UserError(f"{path} has no dataset with a path.", f"Bring one: {missing[0].name}: {missing[0].bring}")
    return Blend(str(path), datasets, missing, _public_share(path, content), tuple(unused))


def _blend_of_one(path: str) -> Blend:
    return Blend(path, (Dataset(_folder_name(_default_name({"path": path})), path),))


def _no_blend(path: Path) -> UserError:
    if path.is_dir():
        inside = sorted(str(file) for file in path.glob("*.json"))
        near = f'Did you mean "{inside[0]}"?' if len(inside) == 1 else LISTS_DATASETS
        return UserError(f"The folder {path} is neither a blend file nor chat data.", near)
    siblings = [str(other) for other in path.parent.glob("*")]
    return UserError(f"{path} does not exist.", did_you_mean(str(path), siblings) or LISTS_DATASETS)


def _without_unused(content: Any, where: str, unused: list[str]) -> Any:
    """Leave out comments (`_comment`, `_missing_categories`) and descriptive keys.

    Add the latter to `unused`.
    """
    if not isinstance(content, dict):
        return content
    unused += [f"{key} of {where}" for key in content if key in DESCRIPTIVE_KEYS]
    return {
        key: value for key, value in content.items() if key not in DESCRIPTIVE_KEYS and key[:1] not in ("_", "#", "/")
    }


def _entries(path: Path, content: Any) -> list[tuple[str, Any, str | None]]:
    """Return (place in the file, entry, split) of every dataset, in either form."""
    if isinstance(content, dict):
        content = {key: value for key, value in content.items() if key != "public_share"}
    if isinstance(content, dict) and isinstance(content.get("datasets"), list) and len(content) == 1:
        return [(f"datasets[{i}]", entry, None) for i, entry in enumerate(content["datasets"])]
    by_split = isinstance(content, dict) and content and all(key in SPLITS for key in content)
    if by_split and all(isinstance(listed, list | None) for listed in content.values()):
        return [(f"{split}[{i}]", entry, split) for split in content for i, entry in enumerate(content[split] or ())]
    raise UserError(
        f"{path} is not a blend.",
        'Write {"datasets": [{"name": ..., "path": ...}, ...]}, or such lists under "train", "valid" and "test".',
    )


def _public_share(path: Path, content: dict[str, Any]) -> float | None:
    share = content.get("public_share")
    if share is not None and (isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1):
        raise UserError(f"{path}: public_share is {share!r}.", "It is a share between 0 and 1.")
    return share


def _dataset(blend_path: Path, where: str, entry: Any, goes_to: str | None) -> Dataset:
    is_missing = isinstance(entry, dict) and entry.get("path", "") is None and isinstance(entry.get("bring"), str)
    if not isinstance(entry, dict) or not (is_missing or isinstance(entry.get("path"), str)):
        raise UserError(
            f"{blend_path}: {where} has no path.",
            'Each dataset needs at least "path". A dataset without public data has a null path and "bring".',
        )
    for key, value in entry.items():
        if key not in KEYS:
            hint = did_you_mean(key, KEYS) or f"Known keys: {', '.join(KEYS)}."
            raise UserError(f'{blend_path}: {where} has the unknown key "{key}".', hint)
        _check_value(blend_path, where, key, value)
    given = {key: value for key, value in entry.items() if value is not None}
    given["path"] = "" if is_missing else _absolute(blend_path, entry["path"])
    given["name"] = _folder_name(given.get("name") or _default_name(given))
    return Dataset(**given, goes_to=goes_to)


def _check_value(blend_path: Path, where: str, key: str, value: Any) -> None:
    """Refuse a value of the wrong type; null means no value."""
    if value is None:
        return
    if key == "weight":
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise UserError(
                f"{blend_path}: {where} has the weight {value!r}.",
                "A weight is a number above 0; leave a dataset out by removing its entry.",
            )
    elif key == "reasoning":
        if not isinstance(value, dict):
            raise UserError(f"{blend_path}: {where} has reasoning {value!r}.", 'Write an object: {"effort": "low"}.')
    elif key == "checks":
        _check_checks(blend_path, where, value)
    elif key in ("recursive", "repeat"):
        if not isinstance(value, bool):
            raise UserError(f"{blend_path}: {where} has {key} {value!r}.", "Write true or false.")
    elif not isinstance(value, str) or not value.strip():
        raise UserError(f"{blend_path}: {where} has {key} {value!r}.", "It must be text.")
    elif key == "format" and value not in get_args(RowFormat):
        known = get_args(RowFormat)
        hint = did_you_mean(value, known) or f"Known formats: {', '.join(known)}."
        raise UserError(f'{blend_path}: {where} has the unknown format "{value}".', hint)


def _check_checks(blend_path: Path, where: str, value: Any) -> None:
    listed = f"List some of {', '.join(CHECKS)}."
    if not isinstance(value, list):
        raise UserError(f"{blend_path}: {where} has checks {value!r}.", listed)
    for check in value:
        if check not in CHECKS:
            raise UserError(
                f'{blend_path}: {where} has the unknown check "{check}".', did_you_mean(str(check), CHECKS) or listed
            )


def _absolute(blend_path: Path, path: str) -> str:
    return path if "://" in path else str(blend_path.parent / expand_home(path))


def _default_name(entry: dict[str, Any]) -> str:
    """Return the file's name without suffixes, or name, subset and split on the hub."""
    stem = Path((entry["path"] or entry.get("domain", "")).rstrip("/")).name.split(".")[0]
    return "-".join(part for part in (stem, entry.get("subset"), entry.get("split")) if part)


def _folder_name(name: str) -> str:
    """Make a folder name from a dataset's name.

    Everything except letters, digits, `.`, `_` and `-` becomes `-`.
    """
    return re.sub(r"[^\w.-]+", "-", name).strip(".-") or "dataset"


def _check(path: Path, datasets: Sequence[Dataset]) -> None:
    if not datasets:
        raise UserError(f"{path} lists no dataset.", 'Add one: {"datasets": [{"name": "chat", "path": "chat.jsonl"}]}.')
    seen: set[tuple[str, str | None]] = set()
    for dataset in datasets:
        if (dataset.name, dataset.goes_to) in seen:
            raise UserError(f'{path} has two datasets named "{dataset.name}".', "Give each its own name.")
        seen.add((dataset.name, dataset.goes_to))
    for goes_to in dict.fromkeys(dataset.goes_to for dataset in datasets):
        mixed = [dataset for dataset in datasets if dataset.goes_to == goes_to]
        unweighted = [dataset.name for dataset in mixed if dataset.weight is None]
        if unweighted and len(unweighted) < len(mixed):
            where = f' under "{goes_to}"' if goes_to else ""
            raise UserError(
                f'{path} gives some datasets{where} a weight, but not "{unweighted[0]}".',
                "Give every dataset of a mix a weight, or none.",
            )
