"""The page of a run while it works."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.training.reporting.report.made_up import START, record, write_run

from nemotron.training.prepared_data import PreparedData
from nemotron.training.reporting.report import live
from nemotron.training.reporting.report.history import read_history
from nemotron.training.reporting.report.live import describe_start, keep_report, report_session


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which stands still unless a test moves it."""
    now = [1000.0]
    monkeypatch.setattr(live.time, "monotonic", lambda: now[0])
    return now


def test_a_page_is_written_for_news_and_now_and_then(
    tmp_path: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    monkeypatch.setattr(live, "write_report", lambda run: written.append(run.finished))
    told: list[str] = []
    folder = write_run(tmp_path, [record(1)], history=[START])
    on_record = keep_report(folder, 3, lambda kind, _: told.append(kind))
    for at in range(1, 5):
        write_run(tmp_path, [record(each) for each in range(1, at + 1)], history=[START])
        on_record("train", record(at))
    assert written == [1, 3]  # the first one, and the one that is saved
    on_record("valid", {"iteration": 4})
    clock[0] += live.EVERY_SECONDS
    on_record("train", record(5))
    assert written == [1, 3, 4, 4]
    assert told == [*["train"] * 4, "valid", "train"]


def test_a_page_that_takes_long_is_written_less_often(
    tmp_path: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[float] = []

    def write(_run: object) -> None:
        written.append(clock[0])
        clock[0] += 2.0

    monkeypatch.setattr(live, "write_report", write)
    on_record = keep_report(write_run(tmp_path), None, None)
    for _ in range(300):
        on_record("valid", {"iteration": 4})
        clock[0] += 1.0
    assert len(written) == 3  # 2 of every 102 seconds


def test_training_goes_on_when_the_page_cannot_be_written(
    tmp_path: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def write(_run: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(live, "write_report", write)
    on_record = keep_report(write_run(tmp_path), None, None)
    for _ in range(3):
        on_record("valid", {"iteration": 4})
        clock[0] += 100
    assert capsys.readouterr().out.count("No space left") == 1


def test_a_run_that_fails_leaves_a_page_that_says_so(tmp_path: Path) -> None:
    write_run(tmp_path, history=[])
    with (
        pytest.raises(RuntimeError, match="lost"),
        report_session(tmp_path, START, lambda: 2, is_writer=True),
    ):
        raise RuntimeError("lost its connection")
    page = (tmp_path / "report.html").read_text()
    assert "iteration 2: lost its connection" in page


def test_other_ranks_write_nothing(tmp_path: Path) -> None:
    with report_session(tmp_path, START, lambda: 2, is_writer=False):
        pass
    assert read_history(tmp_path) == []
    assert not list(tmp_path.iterdir())


def test_a_start_records_the_settings_that_a_user_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the defaults of the code nor those of config/default.yaml."""
    monkeypatch.setattr(live, "describe_machine", lambda: {"device": "CPU"})
    origins = {
        "a": "default", "b": "config/default.yaml:5", "c": "config/tiny.yaml:5", "d": "command line",
        "e": "mine/default.yaml:7",
    }  # fmt: skip
    loaded: Any = SimpleNamespace(name="tiny", config=SimpleNamespace(peft=None), origins=origins)
    plan: Any = SimpleNamespace(train_iters=10, global_batch_size=8, pack_size=512, flops_per_token=1e9)
    data = PreparedData("ours:v1", Path("/data/splits"), {"train": 8})
    start = describe_start(loaded, plan, data, ["A note."])
    assert start == {
        "name": "tiny",
        "train_iters": 10,
        "global_batch_size": 8,
        "pack_size": 512,
        "data": {"reference": "ours:v1", "splits": "/data/splits", "packs": {"train": 8}},
        "machine": {"device": "CPU"},
        "flops_per_token": 1e9,
        "adapters_only": False,
        "origins": {key: origins[key] for key in "cde"},
        "notes": ["A note."],
    }
    loaded.config.peft = "lora"
    assert describe_start(loaded, plan, data, [])["adapters_only"] is True


@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_line_goes_to_the_display_or_is_printed_by_the_first_rank(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], rank: str
) -> None:
    monkeypatch.setenv("RANK", rank)
    shown: list[tuple[str, dict[str, Any]]] = []
    for on_record in (lambda kind, record: shown.append((kind, record)), None):
        live.say(on_record, "Saving.")
        live.report_start(on_record, 10, 4, ["A note."])
    assert shown == [
        ("line", {"text": "Saving."}),
        ("start", {"train_iters": 10, "finished": 4, "notes": ["A note."]}),
    ]
    assert capsys.readouterr().out == ("Saving.\nnote: A note.\n" if rank == "0" else "")


@pytest.mark.parametrize(("ranks", "described"), [("1", "1 process"), ("2000", "2,000 processes")])
def test_a_machine_without_a_gpu_is_described_by_its_processes(
    monkeypatch: pytest.MonkeyPatch, ranks: str, described: str
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(live.socket, "gethostname", lambda: "node7")
    monkeypatch.setenv("WORLD_SIZE", ranks)
    assert live.describe_machine() == {"gpus": None, "device": "CPU", "describe": f"{described} on the CPU, node7"}
