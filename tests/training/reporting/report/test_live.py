"""The page of a run while it works."""

from pathlib import Path

import pytest
from tests.training.reporting.report.made_up import START, record, write_run

from nemotron.training.reporting.report import live
from nemotron.training.reporting.report.history import read_history
from nemotron.training.reporting.report.live import keep_report, report_session


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
