"""Data prep as a process of its own: killed for real, out of room, and with an input it cannot read."""

import dataclasses
import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nemotron.data_prep.config import DataPrepConfig
from nemotron.data_prep.packing import shards
from nemotron.data_prep.pipeline import prepare

KILLS = int(os.environ.get("NEMOTRON_TEST_KILLS", "3"))
JOB = """
import json, resource, sys
from nemotron.data_prep import pipeline
from nemotron.data_prep.config import DataPrepConfig, PrepRunConfig, TokenizerConfig
from nemotron.data_prep.packing import shards
from nemotron.errors import UserError

values, limit = json.loads(sys.argv[1]), int(sys.argv[2])
known = {"tokenizer": TokenizerConfig(**values.pop("tokenizer")), "run": PrepRunConfig(**values.pop("run"))}
values.pop("blend"), values.pop("reasoning")
shards.LEAST_PACKS = int(sys.argv[3])
print("ready", flush=True)
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    pipeline.prepare(DataPrepConfig(**values, **known))
except UserError as error:
    sys.exit(str(error))
"""


def start(config: DataPrepConfig, largest_file: int = 0) -> subprocess.Popen[str]:
    """Data prep in a process, which has imported everything when this returns."""
    command = [
        sys.executable,
        "-c",
        JOB,
        json.dumps(dataclasses.asdict(config)),
        str(largest_file),
        str(shards.LEAST_PACKS),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def written(folder: Path) -> dict[str, bytes]:
    files = [*folder.glob("runs/*/splits/**/*.parquet"), *folder.glob("runs/*/dropped.jsonl.zst")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.slow
def test_a_run_killed_at_random_moments_is_completed_to_the_same_bytes(
    make_config: Callable[..., DataPrepConfig], write_rows: Callable, chat: Callable, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(shards, "LEAST_PACKS", 16)
    for name in ("a.jsonl", "b.jsonl", "c.jsonl"):
        write_rows(name, [{}, *(chat(f"{name} {i}?", "word " * (i % 40)) for i in range(300))])
    config = make_config("a.jsonl", "b.jsonl", "c.jsonl", num_shards=4)
    began = time.monotonic()
    prepare(config)
    undisturbed, takes = written(tmp_path / "out"), time.monotonic() - began
    config.output_dir = str(tmp_path / "killed")
    for seed in range(KILLS):
        process = start(config)
        time.sleep(random.Random(seed).uniform(0, takes))
        process.kill()
        process.communicate()
        if seed % 5 == 4:  # several kills of one run, then a run from the beginning
            prepare(config)
            assert written(Path(config.output_dir)) == undisturbed
            config.output_dir = str(tmp_path / f"killed-{seed}")
    prepare(config)
    assert sum(file.endswith(".parquet") for file in undisturbed) == 4
    assert written(Path(config.output_dir)) == undisturbed


def test_a_full_disk_is_reported_and_the_next_run_completes(
    make_config: Callable[..., DataPrepConfig], write_rows: Callable, chat: Callable, tmp_path: Path
) -> None:
    write_rows("chat.jsonl", [chat(f"{i}?", "word " * 40) for i in range(300)])
    config = make_config("chat.jsonl")
    process = start(config, largest_file=50_000)  # Python ignores SIGXFSZ, so writing fails as on a full disk
    _, error = process.communicate()
    assert process.returncode == 1
    assert error.startswith(f"Cannot write {tmp_path / 'out'}/")
    assert not list((tmp_path / "out").rglob("*.parquet"))
    assert not list((tmp_path / "out").rglob("*.tmp"))
    assert prepare(config).metadata.conversations == 300


def test_an_unreadable_file_stops_the_run_and_finished_work_is_kept(
    make_config: Callable[..., DataPrepConfig], write_rows: Callable, chat: Callable, tmp_path: Path
) -> None:
    write_rows("a.jsonl", [chat("Hi", "Hello")])
    whole = gzip.compress("".join(json.dumps(chat(f"{i}?", "Yes.")) + "\n" for i in range(5000)).encode())
    (tmp_path / "b.jsonl.gz").write_bytes(whole[: len(whole) // 2])  # begins well, so that only reading on finds out
    config = make_config("a.jsonl", "b.jsonl.gz")
    _, error = start(config).communicate()
    assert "b.jsonl.gz" in error
    assert "Traceback" not in error
    assert not (tmp_path / "out" / "splits").exists()
    assert list((tmp_path / "out" / "tokens" / "a").rglob("part_000000.json"))


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL])
def test_an_end_leaves_nothing_behind_and_where_it_can_a_line(
    sent: signal.Signals, write_rows: Callable, chat: Callable, tmp_path: Path
) -> None:
    write_rows("chat.jsonl", [chat(f"{i}?", "word " * 200) for i in range(60_000)])
    temporary, artifacts = tmp_path / "temporary", tmp_path / "artifacts"
    temporary.mkdir()
    settings = ["chat.jsonl", "workers=2", f"output_dir={tmp_path / 'out'}", f"run.artifacts={artifacts}"]
    command = [sys.executable, "-m", "nemotron", "super3", "data", "prep", "sft", "-c", "tiny", *settings]
    environment = {**os.environ, "TMPDIR": str(temporary)}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    while not list((tmp_path / "out").glob("tokens/*/*")):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    process.send_signal(sent)
    _, error = process.communicate(timeout=60)
    assert process.returncode == (143 if sent == signal.SIGTERM else -sent)
    assert ("Terminated" in error) == (sent == signal.SIGTERM)
    assert "Traceback" not in error
    deadline = time.monotonic() + 60
    while list(temporary.iterdir()) and time.monotonic() < deadline:  # the processes it started remove it
        time.sleep(0.1)
    assert list(temporary.iterdir()) == []
    assert not artifacts.exists()
