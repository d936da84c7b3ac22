"""Many small files are tokenized together, and nobody can tell from the output."""

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import zstandard

from nemotron.data_prep import planned_inputs
from nemotron.data_prep.config import DataPrepConfig
from nemotron.data_prep.inspection.origins import Origins
from nemotron.data_prep.output.verify import verify
from nemotron.data_prep.pipeline import PrepResult, prepare
from nemotron.data_prep.planned_inputs import BUNDLE_BYTES, FEW_FILES, SMALL_BYTES, Bundle, plan_files
from nemotron.data_prep.sources import InputFile

FOLDER = Path("tokens")


def files(count: int, size: int = 100) -> list[InputFile]:
    return [InputFile(f"{number:05}.jsonl", size, "digest", "version", "jsonl", None) for number in range(count)]


def hashes(count: int) -> list[str]:
    """Hashes that let no bundle begin: its files decide that by theirs."""
    return [f"{1 + 256 * number:016x}" for number in range(count)]


def paths(bundle: Bundle) -> list[str]:
    return [part.file.path for part in bundle.parts]


def test_few_files_have_tokens_of_their_own() -> None:
    planned, bundles = plan_files(files(FEW_FILES), hashes(FEW_FILES), FOLDER)
    assert [bundle.output for bundle in bundles] == [FOLDER / file.hash / "part_000000" for file in planned]


def test_many_small_files_share_a_bundle_up_to_its_size() -> None:
    count = 2 * BUNDLE_BYTES // SMALL_BYTES + 3
    planned, bundles = plan_files(files(count, SMALL_BYTES), hashes(count), FOLDER)
    assert [len(bundle.parts) for bundle in bundles] == [16, 16, 3]
    assert [path for bundle in bundles for path in paths(bundle)] == [file.file.path for file in planned]
    assert len({file.folder for file in planned}) == 3


def test_a_large_file_stands_between_bundles() -> None:
    inputs = files(100)
    inputs[40] = replace(inputs[40], size=9 * 2**20)
    planned, bundles = plan_files(inputs, hashes(100), FOLDER)
    assert [len(bundle.parts) for bundle in bundles] == [40, 1, 1, 1, 59]
    assert [bundle.output.name for bundle in bundles[1:4]] == ["part_000000", "part_000001", "part_000002"]
    assert planned[40].folder == FOLDER / planned[40].hash


def test_a_new_file_changes_its_own_bundle_only() -> None:
    names = [f"{number:016x}" for number in range(2000)]  # every 256th begins a bundle
    _, before = plan_files(files(2000), names, FOLDER)
    _, after = plan_files(files(2001), [*names[:700], "f" * 16, *names[700:]], FOLDER)
    assert len(before) == len(after) == 8
    assert len({bundle.output for bundle in before} - {bundle.output for bundle in after}) == 1


@pytest.fixture
def runs(
    tmp_path: Path,
    write_rows: Callable[[str, list[Any]], Path],
    chat: Callable[..., Any],
    make_config: Callable[..., DataPrepConfig],
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[PrepResult, PrepResult]:
    """The same 40 files, each tokenized alone, and all together; some rows are broken, some files empty."""
    (tmp_path / "files").mkdir()
    for number in range(40):
        rows = [chat(f"{number}?", f"{number}."), {"messages": []}, chat("Same?", "Same.")]
        write_rows(f"files/{number:02}.jsonl", rows[: number % 4])
    config = make_config(blend={"datasets": [{"name": "chat", "path": "files"}]}, dedupe=True)
    together = prepare(config)
    monkeypatch.setattr(planned_inputs, "FEW_FILES", 40)
    return prepare(replace(config, output_dir=str(tmp_path / "alone"))), together


def output(result: PrepResult) -> dict[str, Any]:
    run = result.plan.run_dir
    shards = {str(path.relative_to(run)): path.read_bytes() for path in (run / "splits").rglob("*.parquet")}
    dropped = zstandard.decompress((run / "dropped.jsonl.zst").read_bytes(), 10**6)
    return {**shards, "dropped": list(map(json.loads, dropped.splitlines()))}


def test_bundles_change_no_byte_and_no_count(runs: tuple[PrepResult, PrepResult], tmp_path: Path) -> None:
    alone, together = runs
    assert [len(run.plan.datasets[0].bundles) for run in runs] == [40, 1]
    assert output(together) == output(alone)
    assert together.metadata == alone.metadata
    broken = {"dataset": "chat", "file": str(tmp_path / "files" / "03.jsonl"), "line": 2, "reason": "no_messages"}
    assert any(broken.items() <= row.items() for row in output(together)["dropped"])


def test_bundled_rows_are_found_again(runs: tuple[PrepResult, PrepResult]) -> None:
    places = []
    for run in runs:
        origins = Origins(run.plan.run_dir)
        for pack in pq.read_table(run.splits_dir / "train").to_pylist():
            bounds = [*pack["seq_start_id"], len(pack["input_ids"])]
            places += [origins.find(np.array(pack["input_ids"][start:end])) for start, end in pairwise(bounds)]
    assert places[: len(places) // 2] == places[len(places) // 2 :]
    found = {(Path(place.file).name, place.line) for place in places if place}
    assert found == {("01.jsonl", 1), ("03.jsonl", 3), *((f"{n:02}.jsonl", 1) for n in range(40) if n % 4)}


def test_bundles_pass_verification(runs: tuple[PrepResult, PrepResult]) -> None:
    _, together = runs
    assert list(verify(together.plan.output_dir)) == []
