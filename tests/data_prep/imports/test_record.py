"""What a record says of packed Parquet, and what is said by whoever registers it."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nemotron.config import config_dir
from nemotron.data_prep.imports import register as room
from nemotron.data_prep.imports.packs import Counts
from nemotron.data_prep.imports.splits import Found
from nemotron.errors import UserError

TOKENIZER = str(config_dir() / "data_prep/tiny/tokenizer")


@pytest.mark.parametrize(("longest", "pack_size"), [(1, 1), (2, 2), (3, 4), (4, 4), (5, 8), (4096, 4096), (4097, 8192)])
def test_a_pack_size_that_nobody_recorded_is_the_next_power_of_two(longest: int, pack_size: int) -> None:
    assert room._round_up(longest) == pack_size


@pytest.mark.parametrize(("recorded", "taken"), [(1, 1), (64, 64), (0, None), (-1, None), (True, None), ("64", None)])
def test_a_recorded_number_is_a_whole_one_above_0(recorded: object, taken: int | None) -> None:
    assert room._to_int(recorded) == taken


def test_what_is_recorded_of_a_tokenizer_is_kept_unless_another_is_given() -> None:
    record = {"tokenizer": {"model": TOKENIZER, "vocab_size": 5, "revision": "main"}}
    kept, given = (room._describe_tokenizer(model, record, []) for model in (None, TOKENIZER))
    assert (kept["vocab_size"], kept["revision"]) == (2048, "main")  # as it is, not as it was
    assert given == {key: value for key, value in kept.items() if key != "revision"}


def test_what_is_recorded_of_a_tokenizer_that_is_gone_still_limits_ids() -> None:
    recorded = {"model": "/gone", "vocab_size": 5}
    notes: list[str] = []
    assert room._describe_tokenizer(None, {"tokenizer": recorded}, notes) == recorded
    assert len(notes) == 1


@pytest.mark.parametrize("changed", [None, "pack_size", "pad_to_multiple", "tokenizer", "digest", "run_hash"])
def test_data_keeps_its_run_hash_while_it_is_the_same_and_read_the_same(changed: str | None) -> None:
    read_as = {"pack_size": 64, "pad_to_multiple": 1, "tokenizer": {"model": "letters"}}
    record: dict[str, Any] = {**read_as, "run_hash": "0a1b"}
    if changed in record:
        record[changed] = 5
    found = Found(Path("packs"), {}, record, "other" if changed == "digest" else "sha256:aa")
    run_hash = room._run_hash(found, "sha256:aa", read_as)
    assert (run_hash == "0a1b") == (changed is None)
    # Without a hash of its own it has one that follows from content and settings.
    if changed:
        assert run_hash == room._run_hash(Found(Path("elsewhere"), {}, {}), "sha256:aa", read_as)
        assert len(run_hash) == 16
        assert run_hash != room._run_hash(found, "sha256:bb", read_as)
        assert run_hash != room._run_hash(found, "sha256:aa", {**read_as, "pack_size": 32})


def write(path: Path, *lengths: int) -> None:
    """Write packs of one sequence each, in which all tokens train that can."""
    path.parent.mkdir(parents=True)
    rows = {
        "input_ids": [[5] * length for length in lengths],
        "loss_mask": [[1] * (length - 1) + [0] for length in lengths],
        "seq_start_id": [[0] for _ in lengths],
    }
    pq.write_table(pa.table({name: pa.array(lists, pa.list_(pa.int32())) for name, lists in rows.items()}), path)


def register(folder: Path, record: dict[str, Any], monkeypatch: pytest.MonkeyPatch, **given: Any) -> room.Registered:
    files = {path.name: sorted(path.iterdir()) for path in sorted(folder.iterdir()) if path.is_dir()}
    monkeypatch.setattr(room, "find_splits", lambda _: Found(folder, files, record))
    return room.register_data(folder, name="packs", artifacts=folder.parent / "artifacts", **given)


def test_sequences_are_padded_as_recorded_or_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "packs/train/a.parquet", 3, 6)
    with pytest.raises(UserError, match=r"multiple of 4.*\b3\b"):
        register(tmp_path / "packs", {"pad_to_multiple": 4}, monkeypatch)
    registered = register(tmp_path / "packs", {"pad_to_multiple": 4}, monkeypatch, pad_to_multiple=3)
    assert registered.artifact.metadata["pad_to_multiple"] == 3
    assert register(tmp_path / "packs", {}, monkeypatch).artifact.metadata["pad_to_multiple"] == 1


def test_an_artifact_has_the_counts_of_all_splits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "packs/train/a.parquet", 3, 6)
    write(tmp_path / "packs/valid/a.parquet", 5)
    registered = register(tmp_path / "packs", {"pack_size": 16}, monkeypatch)
    train = Counts(packs=2, sequences=2, tokens=9, supervised_tokens=7, longest=6)
    valid = Counts(packs=1, sequences=1, tokens=5, supervised_tokens=4, longest=5)
    facts = registered.artifact.metadata
    assert {key: facts[key] for key in ("tokens", "supervised_tokens", "sequences", "packs", "pack_size")} == {
        "tokens": 14, "supervised_tokens": 11, "sequences": 3, "packs": {"train": 2, "valid": 1}, "pack_size": 16,
    }  # fmt: skip
    assert facts["splits"] == {"train": asdict(train), "valid": asdict(valid)}
    assert facts["imported_from"] == str(tmp_path / "packs")
    assert "tokenizer" not in facts
    assert len(registered.notes) == 1  # no tokenizer; but there is a valid split
