"""Compute the hashes that name the output.

Every setting counts except a few that change nothing, so a new setting counts as soon as it exists. A setting that is
forgotten here costs a needless run. If settings had to be listed to count, a forgotten one would serve stale data.
"""

import hashlib
import posixpath
from collections.abc import Collection, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import orjson

from nemotron.data_prep.chat.template import Template
from nemotron.data_prep.config import DataPrepConfig
from nemotron.data_prep.sources import InputFile
from nemotron.data_prep.sources.blend import Dataset
from nemotron.data_prep.tokenizer.tokenizer import Tokenizer

FORMAT_VERSION = 15
"""Increased whenever the same inputs and config give other files than before."""

CHANGES_NOTHING = frozenset(
    {
        # Where results go, and their names.
        "output_dir", "config_name", "run.artifacts",
        # Where inputs are; their contents count instead.
        "blend_path", "tokenizer.model", "tokenizer.revision", "tokenizer.trust_remote_code", "chat_template",
        # Where and with which library the work is done; the bytes are the same.
        "workers", "engine", "ray_address", "encoder",
        # Whether to run at all.
        "force", "strict",
    }
)  # fmt: skip
"""Settings that neither hash covers."""
DECIDES_NO_TOKENS = frozenset(
    {
        "pack_size", "algorithm", "pad_to_multiple", "overlong", "max_doc_tokens", "dedupe", "seed", "blend.samples",
        "train_ratio", "valid_ratio", "test_ratio", "num_shards", "parquet_row_group_size", "parquet_compression",
        "reasoning.low_effort",
    }
)  # fmt: skip
"""Settings that decide how tokens are used: the run hash covers them, a file's hash does not."""

DATASET_CHANGES_NOTHING = frozenset(
    {
        # Where its files are; their contents count instead.
        "path", "subset", "split", "recursive",
        # Only shown.
        "group", "domain", "scale", "source", "bring",
    }
)  # fmt: skip
"""Keys of a blend's dataset that neither hash covers."""
DATASET_DECIDES_NO_TOKENS = frozenset({"name", "weight", "repeat", "goes_to"})
"""Keys of a blend's dataset that only the run hash covers."""


def hash_tokens(
    config: DataPrepConfig, dataset: Dataset, files: Sequence[InputFile], tokenizer: Tokenizer, template: Template
) -> list[str]:
    """Hash everything that decides the tokens of input files.

    A hash for each file. It names the folder of its tokenized parts.
    """
    common = [
        FORMAT_VERSION, tokenizer.digest, sorted(tokenizer.special_tokens_map.items()), template.digest,
        list_settings(config, CHANGES_NOTHING | DECIDES_NO_TOKENS),
        list_settings(dataset, DATASET_CHANGES_NOTHING | DATASET_DECIDES_NO_TOKENS),
    ]  # fmt: skip
    return [_hash([*common, file.format, file.compression, file.digest]) for file in files]


def hash_bundle(hashes: Sequence[str]) -> str:
    """Name the folder of files that are tokenized together, from their hashes."""
    return _hash(hashes)


def hash_run(config: DataPrepConfig, datasets: Sequence[tuple[Dataset, Sequence[tuple[InputFile, str]]]]) -> str:
    """Hash everything that decides the output of a run.

    Args:
        config: The config.
        datasets: Each dataset of the blend with its files, and each file with its hash by `hash_tokens`.
    """
    inputs = [
        [
            list_settings(dataset, DATASET_CHANGES_NOTHING),
            [[posixpath.basename(file.path), tokens] for file, tokens in files],
        ]
        for dataset, files in datasets
    ]
    return _hash([FORMAT_VERSION, list_settings(config, CHANGES_NOTHING), inputs])


def list_settings(section: Any, but: Collection[str], prefix: str = "") -> dict[str, Any]:
    """Map dotted keys to the settings of a dataclass and its sections, without `but`."""
    found: dict[str, Any] = {}
    for field in fields(section):
        key, value = prefix + field.name, getattr(section, field.name)
        if is_dataclass(value):
            found |= list_settings(value, but, f"{key}.")
        elif key not in but:
            found[key] = value
    if found.get("sample", 0) is None:
        found.pop("sample_seed", None)  # without a sample the seed has no effect
    return found


def _hash(value: Any) -> str:
    return hashlib.blake2b(orjson.dumps(value, option=orjson.OPT_SORT_KEYS), digest_size=8).hexdigest()
