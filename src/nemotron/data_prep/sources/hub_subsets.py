"""Find the files of a dataset on the hub that belong to a subset and a split.

Its README lists them under `configs`. Without that, names decide, by the rules of the `datasets` library: `train`,
`dev`, `test` and the like between separators in a path, and a subset per folder. A subset that is none of these may be
a split or the stem of a file: the blends of NVIDIA's recipes name parts of a repository that way.
"""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from nemotron.config.yaml_file import parse_plain
from nemotron.data_prep.sources.blend import Dataset
from nemotron.data_prep.sources.input_file import stem_of
from nemotron.errors import UserError, did_you_mean

_SHARD_OF = re.compile(r"-\d+-of-\d+$")
Splits = dict[str, list[str]]
"""Files by split."""
SPLIT_WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}


def choose_files(dataset: Dataset, paths: Sequence[str], readme: str) -> list[str]:
    """List the files of the dataset's subset and split, among those of its repository.

    Without a subset, the default or only one is used. Without a split, it is `train` if it exists, otherwise all.
    Splits may be joined: `train+validation`.

    Raises:
        UserError: The choice is ambiguous or wrong; the message lists what there is.
    """
    subsets, default = _read_declared(readme, paths)
    if not subsets:
        subsets, default = _by_folder(paths), None
    splits = _pick_subset(dataset, subsets, default, paths)
    if dataset.split is None:
        wanted = ["train"] if "train" in splits else list(splits)
    else:
        wanted = [name.strip() for name in dataset.split.split("+")]
    for name in wanted:
        if name not in splits:
            raise UserError(
                f'Dataset "{dataset.name}": {dataset.path} has no split "{name}".',
                did_you_mean(name, splits) or f"It has {', '.join(splits) or 'no data files'}.",
            )
    chosen = list(dict.fromkeys(path for name in wanted for path in splits[name]))
    if not chosen:
        raise UserError(
            f'Dataset "{dataset.name}": {dataset.path} has no data files that can be read in this subset and split.',
            "JSONL, JSON and Parquet can be read; check the files of the dataset on the hub.",
        )
    return chosen


def matching(pattern: str, paths: Sequence[str]) -> list[str]:
    """List the paths that match a glob, or the file or folder with its name."""
    from fsspec.utils import glob_translate  # slow to import, and only data on the hub needs it

    pattern = pattern.removeprefix("./").rstrip("/")
    expression = re.compile(glob_translate(pattern))
    return [path for path in paths if expression.fullmatch(path) or path.startswith(f"{pattern}/")]


def _pick_subset(dataset: Dataset, subsets: dict[str, Splits], default: str | None, paths: Sequence[str]) -> Splits:
    if dataset.subset is not None:
        return subsets[dataset.subset] if dataset.subset in subsets else _split_or_stem(dataset, subsets, paths)
    if len(subsets) > 1 and default is None:
        raise UserError(
            f'Dataset "{dataset.name}": {dataset.path} has several subsets: {", ".join(subsets)}.',
            'Choose one with "subset"; for several, list the dataset once for each.',
        )
    return subsets[default] if default is not None else next(iter(subsets.values()), {})


def _split_or_stem(dataset: Dataset, subsets: dict[str, Splits], paths: Sequence[str]) -> Splits:
    """Return the split or the files with the name of the requested subset.

    A split takes precedence, because the README declares it.
    """
    name = dataset.subset
    assert name is not None
    as_splits = [splits[name] for splits in subsets.values() if name in splits]
    if len(as_splits) == 1:
        return {name: as_splits[0]}
    by_stem: dict[str, list[str]] = {}
    for path in paths:
        by_stem.setdefault(_SHARD_OF.sub("", stem_of(path)), []).append(path)
    if name in by_stem:
        return {"train": by_stem[name]}
    known = [*subsets, *(split for splits in subsets.values() for split in splits), *by_stem]
    raise UserError(
        f'Dataset "{dataset.name}": {dataset.path} has no subset "{name}", nor a split or file of that name.',
        did_you_mean(name, known) or f"It has {', '.join(subsets) or 'no data files'}.",
    )


def _read_declared(readme: str, paths: Sequence[str]) -> tuple[dict[str, Splits], str | None]:
    """Read the subsets in the README's front matter, and the default one."""
    front = re.match(r"\s*---\s*\n(.*?)\n---\s*(?:\n|$)", readme, re.DOTALL)
    content = parse_plain(front[1]) if front else None  # the hub, too, ignores settings that are not valid
    configs = content.get("configs") if isinstance(content, dict) else None
    subsets: dict[str, Splits] = {}
    default = None
    for config in configs if isinstance(configs, list) else []:
        if not isinstance(config, dict):
            continue
        name, folder = str(config.get("config_name", "default")), str(config.get("data_dir") or "")
        inside = matching(folder, paths) if folder else paths
        patterns = _patterns(config.get("data_files"))
        if patterns:
            prefix = f"{folder.rstrip('/')}/" if folder else ""
            subsets[name] = {
                split: [path for pattern in several for path in matching(prefix + pattern, inside)]
                for split, several in patterns.items()
            }
        else:
            subsets[name] = _by_words(inside)
        if config.get("default") is True or name == "default":
            default = name
    return subsets, default


def _patterns(data_files: Any) -> dict[str, list[str]]:
    """Return `data_files`, in any of its forms, as globs by split."""
    if isinstance(data_files, str):
        return {"train": [data_files]}
    if isinstance(data_files, dict):
        return {str(split): _list_paths(paths) for split, paths in data_files.items()}
    patterns: dict[str, list[str]] = {}
    for entry in data_files if isinstance(data_files, list) else []:
        if isinstance(entry, dict):
            patterns.setdefault(str(entry.get("split", "train")), []).extend(_list_paths(entry.get("path")))
        else:
            patterns.setdefault("train", []).append(str(entry))
    return patterns


def _list_paths(paths: Any) -> list[str]:
    return [str(path) for path in (paths if isinstance(paths, list) else [paths]) if path is not None]


def _by_folder(paths: Sequence[str]) -> dict[str, Splits]:
    """Return a subset per top folder that is neither `data` nor named like a split.

    All other files are in `default`.
    """
    words = {word for several in SPLIT_WORDS.values() for word in several}
    files: dict[str, list[str]] = {}
    for path in paths:
        top = PurePosixPath(path).parts[0] if "/" in path else ""
        files.setdefault("default" if top in {"", "data", *words} else top, []).append(path)
    return {name: _by_words(several) for name, several in sorted(files.items())}


def _by_words(paths: Sequence[str]) -> Splits:
    """Return files by the split that a word in their path names.

    If no path names one, all files are `train`.
    """
    splits: Splits = {}
    for path in paths:
        words = re.split(r"[^a-z]+", path.lower())
        named = [split for split, synonyms in SPLIT_WORDS.items() if set(words) & set(synonyms)]
        splits.setdefault(named[0] if named else "train", []).append(path)
    return splits
