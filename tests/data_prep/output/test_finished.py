"""What of a finished run is looked at again before it is taken for done."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from nemotron.data_prep.output import finished


@pytest.mark.parametrize(("most", "sampled"), [(5, 1), (10, 1), (19, 1), (20, 2), (30, 3), (100, 3)])
def test_a_sample_is_one_shard_and_as_many_more_as_are_read_quickly(monkeypatch, most: int, sampled: int) -> None:
    monkeypatch.setattr(finished, "SAMPLED_BYTES", most)
    shards = cast(Any, [SimpleNamespace(bytes=10, file=name) for name in "abc"])
    chosen = [shard.file for shard in finished._sample_shards(shards)]
    assert len(chosen) == len(set(chosen)) == sampled


def test_one_shard_that_has_changed_is_enough(monkeypatch, tmp_path) -> None:
    shards = [SimpleNamespace(bytes=1, file=name, checksum="whole") for name in "abc"]
    plan = SimpleNamespace(run_dir=tmp_path)
    metadata = SimpleNamespace(splits=[SimpleNamespace(path="splits/train", shards=shards)])
    for damaged in ("", "b", "abc"):
        monkeypatch.setattr(finished, "checksum", lambda path: "other" if path.name in damaged else "whole")  # noqa: B023
        assert finished._is_changed(cast(Any, plan), cast(Any, metadata)) is bool(damaged)
