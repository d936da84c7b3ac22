"""The Ray engine, on a cluster of this machine: the same results and the same bytes as the local one."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nemotron.config import load_config
from nemotron.data_prep import engine
from nemotron.data_prep.config import DataPrepConfig
from nemotron.data_prep.pipeline import prepare
from nemotron.data_prep.sources import rows as source_rows
from nemotron.errors import UserError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """One cluster for all tests here: starting one takes seconds. The engine uses the one it finds."""
    ray = pytest.importorskip("ray")
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=2**27)
    yield
    ray.shutdown()


def config(folder: Path, data: str, *overrides: str) -> DataPrepConfig:
    """The tiny config, for one file of the folder."""
    (folder / "blend.json").write_text(json.dumps({"datasets": [{"path": data}]}))
    places = [f"blend_path={folder}/blend.json", f"output_dir={folder}/out", f"run.artifacts={folder}/artifacts"]
    return load_config("tiny", [*places, *overrides], group="data_prep", schema=DataPrepConfig).config


def divide(shared: int, thing: int) -> tuple[int, int]:
    """Work for a test, and the process that did it; ends that process at -1."""
    if thing == -1:
        os.kill(os.getpid(), signal.SIGKILL)
    return shared // thing, os.getpid()


@pytest.mark.parametrize("workers", [1, None])
def test_results_come_in_order_and_are_reported_as_they_finish(workers: int | None) -> None:
    reported: dict[int, Any] = {}
    with engine.start("ray") as run:
        results = run(divide, 12, [1, 2, 3, 4], workers=workers, on_done=reported.__setitem__)
    assert [value for value, _ in results] == [12, 6, 4, 3]
    assert [reported[position] for position in range(4)] == results
    assert os.getpid() not in {process for _, process in results}


def test_an_error_reaches_the_caller_as_it_was_raised() -> None:
    with engine.start("ray") as run, pytest.raises(ZeroDivisionError):
        run(divide, 12, [1, 0, 2], workers=None, on_done=lambda *_: None)


def test_work_that_kills_its_worker_again_and_again_is_reported() -> None:
    with engine.start("ray") as run, pytest.raises(UserError, match="2 times"):
        run(divide, 12, [1, -1, 2], workers=None, on_done=lambda *_: None)


def test_an_unreadable_input_is_the_same_two_sentences(tmp_path: Path) -> None:
    (tmp_path / "chat.jsonl.gz").write_bytes(b"\x1f\x8b\x08\x00 this is no gzip")
    with pytest.raises(UserError, match=r"(?i)cannot read .*chat\.jsonl\.gz"):
        prepare(config(tmp_path, "chat.jsonl.gz", "engine=ray"))


def test_the_bytes_are_those_of_the_local_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_rows, "PART_BYTES", 20_000)  # several parts; workers get them cut already
    rows = [[f"Question {i}?", "word " * (i * 7919 % 30)] for i in range(400)]
    messages = [[{"role": "user", "content": q}, {"role": "assistant", "content": a}] for q, a in rows]
    (tmp_path / "chat.jsonl").write_text("".join(json.dumps({"messages": m}) + "\n" for m in messages))
    written = []
    for name in ("local", "ray"):
        result = prepare(config(tmp_path, "chat.jsonl", f"engine={name}", "force=true"))
        assert len(result.plan.datasets[0].files[0].parts) > 1
        files = sorted((result.plan.run_dir / "splits").rglob("*.parquet"))
        written.append({str(file.relative_to(result.plan.run_dir)): file.read_bytes() for file in files})
    assert written[0] == written[1]
    assert {Path(name).parts[1] for name in written[0]} == {"train", "valid", "test"}
