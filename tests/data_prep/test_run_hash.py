"""The hashes that name what is written: every setting counts but the listed ones, and so does one added tomorrow."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from nemotron.data_prep import run_hash
from nemotron.data_prep.chat.template import Template
from nemotron.data_prep.config import DataPrepConfig, TokenizerConfig
from nemotron.data_prep.run_hash import hash_run, hash_tokens
from nemotron.data_prep.sources import InputFile
from nemotron.data_prep.sources.blend import Dataset
from nemotron.data_prep.tokenizer.load import load_tokenizer

DATASET = Dataset("chat", "/data/chat.jsonl")
FILE = InputFile("/data/chat.jsonl", 10, digest="of the content", version="1", format="jsonl", compression=None)


def keys(section: type, prefix: str = "") -> Iterator[str]:
    """The dotted keys of a schema and of its sections."""
    made = section() if section is not Dataset else DATASET
    for field in fields(section):
        value = getattr(made, field.name)
        if is_dataclass(value):
            yield from keys(type(value), f"{prefix}{field.name}.")
        else:
            yield prefix + field.name


def changed(config: DataPrepConfig, key: str) -> DataPrepConfig:
    """A copy of a config with another value of one setting."""
    section = config = copy.deepcopy(config)
    *path, name = key.split(".")
    for part in path:
        section = getattr(section, part)
    setattr(section, name, other(getattr(section, name)))
    return config


def other(value: Any) -> Any:
    """Any other value: True for False, 5 for 4, "x" for None."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, list):
        return [*value, 0]
    return "x" if value is None else value + (1 if isinstance(value, int | float) else "x")


Hashes = Callable[..., tuple[str, str]]

# What changes nothing, and what no tokens, written out again: whoever adds to the lists of the code says so twice.
NOTHING = frozenset(
    (
        *("output_dir", "config_name", "run.artifacts", "blend_path", "tokenizer.model", "tokenizer.revision"),
        *(
            "tokenizer.trust_remote_code",
            "chat_template",
            "workers",
            "engine",
            "ray_address",
            "encoder",
            "force",
            "strict",
        ),
    )
)
NO_TOKENS = frozenset(
    (
        *("pack_size", "algorithm", "pad_to_multiple", "overlong", "max_doc_tokens", "dedupe", "seed", "blend.samples"),
        *("train_ratio", "valid_ratio", "test_ratio", "num_shards", "parquet_row_group_size", "parquet_compression"),
        "reasoning.low_effort",
    )
)
OF_DATASET_NOTHING = frozenset(("path", "subset", "split", "recursive", "group", "domain", "scale", "source", "bring"))
OF_DATASET_NO_TOKENS = frozenset(("name", "weight", "repeat", "goes_to"))


@pytest.fixture(scope="module")
def hashes(byte_tokenizer: Path) -> Hashes:
    """Of a config and a dataset: the hash of the run, the hash of the tokens of a file."""
    tokenizer = load_tokenizer(TokenizerConfig(str(byte_tokenizer)))
    template = Template("small", "{{ messages }}")

    def hashed(config: DataPrepConfig, dataset: Dataset = DATASET) -> tuple[str, str]:
        return (
            hash_run(config, [(dataset, [(FILE, "tokens")])]),
            *hash_tokens(config, dataset, [FILE], tokenizer, template),
        )

    return hashed


@pytest.mark.parametrize("key", list(keys(DataPrepConfig)))
def test_a_setting_counts_unless_it_is_listed_as_changing_nothing(hashes: Hashes, key: str) -> None:
    before = DataPrepConfig(sample=5)  # the seed of a sample counts where there is one
    run, tokens = hashes(before)
    run_after, tokens_after = hashes(changed(before, key))
    assert (run_after != run) == (key not in NOTHING)
    assert (tokens_after != tokens) == (key not in NOTHING | NO_TOKENS)


@pytest.mark.parametrize("key", list(keys(Dataset)))
def test_a_key_of_a_dataset_counts_unless_it_is_listed_as_changing_nothing(hashes: Hashes, key: str) -> None:
    run, tokens = hashes(DataPrepConfig())
    after = replace(DATASET, **{key: other(getattr(DATASET, key))})
    run_after, tokens_after = hashes(DataPrepConfig(), after)
    assert (run_after != run) == (key not in OF_DATASET_NOTHING)
    assert (tokens_after != tokens) == (key not in OF_DATASET_NOTHING | OF_DATASET_NO_TOKENS)


def test_a_setting_that_is_added_later_counts_at_once(hashes: Hashes) -> None:
    @dataclass
    class Later(DataPrepConfig):
        added: bool = False

    run, tokens = hashes(Later())
    run_after, tokens_after = hashes(Later(added=True))
    assert run_after != run
    assert tokens_after != tokens


def test_the_lists_name_settings_that_exist() -> None:
    assert set(keys(DataPrepConfig)) >= run_hash.CHANGES_NOTHING | run_hash.DECIDES_NO_TOKENS
    assert not run_hash.CHANGES_NOTHING & run_hash.DECIDES_NO_TOKENS
    assert set(keys(Dataset)) >= run_hash.DATASET_CHANGES_NOTHING | run_hash.DATASET_DECIDES_NO_TOKENS
    assert not run_hash.DATASET_CHANGES_NOTHING & run_hash.DATASET_DECIDES_NO_TOKENS


def test_the_seed_of_a_sample_counts_only_where_there_is_one(hashes: Hashes) -> None:
    assert hashes(DataPrepConfig(sample_seed=1)) == hashes(DataPrepConfig(sample_seed=2))
    assert hashes(DataPrepConfig(sample=3, sample_seed=1)) != hashes(DataPrepConfig(sample=3, sample_seed=2))


def test_a_file_is_known_by_its_content_not_by_its_folder(hashes: Hashes) -> None:
    moved = replace(FILE, path=str(Path("/elsewhere/chat.jsonl")))
    config = DataPrepConfig()
    assert hash_run(config, [(DATASET, [(moved, "t")])]) == hash_run(config, [(DATASET, [(FILE, "t")])])
    assert hash_run(config, [(DATASET, [(FILE, "t")])]) != hash_run(config, [(DATASET, [(FILE, "other tokens")])])


@pytest.mark.parametrize("changed", [{"format": "json_array"}, {"compression": ".gz"}, {"digest": "another"}])
def test_what_a_file_holds_and_how_it_is_read_decides_its_tokens(byte_tokenizer: Path, changed: dict) -> None:
    tokenizer, template = load_tokenizer(TokenizerConfig(str(byte_tokenizer))), Template("small", "{{ messages }}")
    one, other = hash_tokens(DataPrepConfig(), DATASET, [FILE, replace(FILE, **changed)], tokenizer, template)
    assert one != other


def test_a_hash_is_short_enough_for_the_name_of_a_folder(hashes: Hashes) -> None:
    assert [len(hash) for hash in hashes(DataPrepConfig())] == [16, 16]
