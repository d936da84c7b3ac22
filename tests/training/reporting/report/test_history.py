"""history.jsonl: every start of a run, and how it ended."""

from pathlib import Path

import pytest

from nemotron.errors import UserError
from nemotron.training.reporting.report.history import HISTORY, read_history, record_session


def test_a_start_and_its_end_are_two_events(tmp_path: Path) -> None:
    saved = iter([0, 20])
    with record_session(tmp_path, {"name": "tiny"}, lambda: next(saved)):
        assert [event["event"] for event in read_history(tmp_path)] == ["start"]
    start, end = read_history(tmp_path)
    assert (start["name"], start["iteration"]) == ("tiny", 0)
    assert (end["state"], end["iteration"]) == ("finished", 20)


def test_a_signal_and_a_failure_are_told_apart(tmp_path: Path) -> None:
    with record_session(tmp_path, {}, lambda: 0) as session:
        session.stopped = True
    with pytest.raises(UserError), record_session(tmp_path, {}, lambda: 0):
        raise UserError("Training diverged", "Lower optimizer.lr.")
    ends = [event for event in read_history(tmp_path) if event["event"] == "end"]
    assert [end["state"] for end in ends] == ["stopped", "failed"]
    assert "optimizer.lr" in ends[1]["message"]


def test_no_secret_is_written(tmp_path: Path) -> None:
    with record_session(tmp_path, {"notes": ["s3://me:mypassword@bucket"]}, lambda: 0):
        pass
    assert "mypassword" not in (tmp_path / HISTORY).read_text()


def test_an_event_after_half_a_line_stands_on_its_own(tmp_path: Path) -> None:
    (tmp_path / HISTORY).write_text('{"event": "start", "ti')  # the machine died here
    with record_session(tmp_path, {}, lambda: 0):
        pass
    assert [event["event"] for event in read_history(tmp_path)] == ["start", "end"]
