"""Subsets and splits that a README declares, in each of its forms; test_hub.py has a server."""

import pytest

from nemotron.data_prep.sources.blend import Dataset
from nemotron.data_prep.sources.hub_subsets import _by_words, _patterns, _read_declared, choose_files, matching
from nemotron.errors import UserError

PATHS = ["README.md", "data/train-0.parquet", "data/test-0.parquet", "math/a.jsonl", "math/b.jsonl", "chat.jsonl"]


def declared(*configs):
    lines = ["---", "configs:", *(f"- {config}" for config in configs), "---", "# A dataset"]
    return _read_declared("\n".join(lines) + "\n", PATHS)


@pytest.mark.parametrize(
    ("given", "patterns"),
    [
        ("a.jsonl", {"train": ["a.jsonl"]}),
        ({"train": "a", "test": ["b", "c"]}, {"train": ["a"], "test": ["b", "c"]}),
        (
            [{"split": "train", "path": "a"}, {"split": "train", "path": ["b"]}, {"path": "c"}],
            {"train": ["a", "b", "c"]},
        ),
        (["a", "b"], {"train": ["a", "b"]}),
        ([{"split": "test"}], {"test": []}),
        (None, {}),
        (3, {}),
    ],
)
def test_files_are_declared_in_many_forms(given, patterns):
    assert _patterns(given) == patterns


def test_a_subset_has_the_files_that_match_its_patterns():
    subsets, default = declared(
        '{config_name: all, data_files: {train: "data/train-*", test: data/test-0.parquet}}',
        '{config_name: maths, data_dir: math, data_files: "*.jsonl"}',
        "{config_name: folder, data_dir: math/}",
        "not a mapping",
    )
    assert default is None
    assert subsets["all"] == {"train": ["data/train-0.parquet"], "test": ["data/test-0.parquet"]}
    assert subsets["maths"] == {"train": ["math/a.jsonl", "math/b.jsonl"]}
    assert [path for split in subsets["folder"].values() for path in split] == ["math/a.jsonl", "math/b.jsonl"]
    assert list(subsets) == ["all", "maths", "folder"]


@pytest.mark.parametrize(
    ("configs", "default"),
    [
        (["{config_name: a, default: true}", "{config_name: b}"], "a"),
        (["{config_name: a}", "{data_files: chat.jsonl}"], "default"),
        (["{config_name: a, default: false}"], None),
    ],
)
def test_the_default_subset_is_marked_or_called_so(configs, default):
    assert declared(*configs)[1] == default


@pytest.mark.parametrize(
    "readme", ["", "# No front matter", "---\n{\n---\n", "---\n- a\n---\n", "---\nconfigs: 3\n---\n"]
)
def test_a_readme_that_declares_nothing_has_no_subsets(readme):
    assert _read_declared(readme, PATHS) == ({}, None)


@pytest.mark.parametrize(
    ("pattern", "paths"),
    [
        ("./math/", ["math/a.jsonl", "math/b.jsonl"]),
        ("math", ["math/a.jsonl", "math/b.jsonl"]),
        ("*.jsonl", ["chat.jsonl"]),
        ("**/*.jsonl", ["math/a.jsonl", "math/b.jsonl", "chat.jsonl"]),
        ("chat", []),
    ],
)
def test_a_pattern_matches_files_and_folders(pattern, paths):
    assert matching(pattern, PATHS) == paths


def test_a_hidden_folder_keeps_its_dot():
    assert matching("./.math/*.jsonl", [".math/a.jsonl", "math/a.jsonl"]) == [".math/a.jsonl"]


@pytest.mark.parametrize("split", ["train+test", " train + test ", "train+test+train"])
def test_splits_are_joined_in_their_order_and_each_file_is_read_once(split):
    dataset = Dataset(name="d", path="hf://org/set", subset="default", split=split)
    paths = ["data/test-0.parquet", "data/train-0.parquet"]
    assert choose_files(dataset, paths, "") == ["data/train-0.parquet", "data/test-0.parquet"]


def test_files_that_cannot_be_read_are_no_data():
    readme = "---\nconfigs:\n- {config_name: a, data_files: '*.bin'}\n---\n"
    dataset = Dataset(name="d", path="hf://org/set", subset="a")
    with pytest.raises(UserError, match=r'Dataset "d": hf://org/set has no data files'):
        choose_files(dataset, PATHS, readme)


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ("train", "train training"),
        ("validation", "validation valid val dev"),
        ("test", "test testing eval evaluation"),
    ],
)
def test_a_split_is_told_by_many_words(split, words):
    for word in words.split():
        for path in (f"data/{word}-00000-of-00001.parquet", f"{word}.jsonl", f"{word}/a.jsonl"):
            assert _by_words([path]) == {split: [path]}, path


def test_the_files_of_a_subset_may_be_numbered() -> None:
    paths = ["chat.jsonl", "math-00000-of-00012.jsonl", "math-00011-of-00012.jsonl", "math-1-of-2-easy.jsonl"]
    assert choose_files(Dataset("d", "hf://org/name", subset="math"), paths, "") == paths[1:3]
    assert choose_files(Dataset("d", "hf://org/name", subset="math-1-of-2-easy"), paths, "") == paths[3:]


def test_folders_named_like_splits_are_no_subsets() -> None:
    paths = [f"{folder}/rows.jsonl" for folder in ("train", "training", "test")]
    assert choose_files(Dataset("d", "hf://org/name"), paths, "") == paths[:2]
