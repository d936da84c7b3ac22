"""Where packed Parquet of other tools is found, and what its folder says of it."""

import json
from pathlib import Path

import pytest

from nemotron.data_prep.imports.splits import Found, _run_of, check_files, find_splits
from nemotron.errors import UserError


def make(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


@pytest.mark.parametrize("around", ["", "splits/"])
def test_splits_lie_in_the_folder_or_in_splits_below_it(tmp_path: Path, around: str) -> None:
    names = ("test/c.parquet", "train/b.parquet", "train/a.parquet", "train/.a.parquet", "train/notes.txt")
    make(tmp_path, *(around + name for name in names), around + "valid/notes.txt")
    folder = tmp_path / around
    train = [folder / "train/a.parquet", folder / "train/b.parquet"]
    assert find_splits(tmp_path) == Found(folder, {"train": train, "test": [folder / "test/c.parquet"]}, {}, None)


@pytest.mark.parametrize(("name", "said"), [("nowhere", "nowhere is not there"), ("a.txt", "a.txt is a file")])
def test_what_is_no_folder_is_said(tmp_path: Path, name: str, said: str) -> None:
    make(tmp_path, "a.txt")
    with pytest.raises(UserError, match=said):
        find_splits(tmp_path / name)


@pytest.mark.parametrize(
    ("file", "hint"),
    [
        ("dev/a.parquet", "Rename dev to valid"),
        ("a.parquet", "ln -s"),
        ("trian/a.parquet", "trian"),
        ("dev/notes.txt", "Put packed Parquet in train/"),  # a folder without Parquet is no split
    ],
)
def test_without_training_data_the_hint_names_what_is_there(tmp_path: Path, file: str, hint: str) -> None:
    with pytest.raises(UserError) as caught:
        find_splits(make(tmp_path, file))
    assert hint in str(caught.value.hint)


def test_the_run_of_a_link_is_the_folder_below_runs(tmp_path: Path) -> None:
    """A file that lies there itself was put there by hand: nothing is known of it."""
    make(tmp_path, "runs/0a1b/datasets/chat/a.parquet", "elsewhere/b.parquet")
    for name, target in (("a", "runs/0a1b/datasets/chat/a.parquet"), ("b", "elsewhere/b.parquet")):
        (tmp_path / name).symlink_to(target)
    assert _run_of(tmp_path / "a") == (tmp_path / "runs/0a1b").resolve()
    assert _run_of(tmp_path / "b") is None
    assert _run_of(tmp_path / "runs/0a1b/datasets/chat/a.parquet") is None


def test_the_first_link_into_a_run_says_how_the_data_was_packed(tmp_path: Path) -> None:
    make(tmp_path, "train/a.parquet", "runs/0a1b/b.parquet")
    (tmp_path / "train/b.parquet").symlink_to("../runs/0a1b/b.parquet")
    config = {"output": {"pack_size": 64, "seed": 1}, "tokenizer": {"model": "letters", "add_eos": True}}
    (tmp_path / "runs/0a1b/config.json").write_text(json.dumps(config))
    assert find_splits(tmp_path).record == {"pack_size": 64, "tokenizer": {"model": "letters"}}
    # One of the two may be missing.
    (tmp_path / "runs/0a1b/config.json").write_text(json.dumps({"tokenizer": {"model": "letters"}}))
    assert find_splits(tmp_path).record == {"tokenizer": {"model": "letters"}}


def problems(folder: Path) -> list[str]:
    return [problem.message.replace(f"{folder.resolve()}/", "") for problem in check_files(find_splits(folder))]


def test_each_file_of_the_splits_is_a_file_of_its_own(tmp_path: Path) -> None:
    make(tmp_path, "train/a.parquet", "train/b.pq", "valid/d.parquet")
    (tmp_path / "train/c.parquet").symlink_to("gone.parquet")
    (tmp_path / "valid/e.parquet").symlink_to("../train/a.parquet")
    said = problems(tmp_path.resolve())
    assert [message.split()[0] for message in said] == ["train/b.pq", "train/c.parquet", "valid/e.parquet"]
    for word, message in zip(("not called", "train/gone.parquet", "train/a.parquet"), said, strict=True):
        assert word in message


@pytest.mark.parametrize(("runs", "named"), [(("0a", "0a"), []), (("0a", "1b"), ["0a", "1b"])])
def test_links_lead_into_one_run(tmp_path: Path, runs: tuple[str, str], named: list[str]) -> None:
    make(tmp_path, "train/own.parquet")  # of no run
    for number, run in enumerate(runs):
        make(tmp_path, f"runs/{run}/{number}.parquet")
        (tmp_path / f"train/{number}.parquet").symlink_to(f"../runs/{run}/{number}.parquet")
    said = problems(tmp_path)
    assert len(said) == bool(named)
    assert all(f"run {run}" in said[0] for run in named)
