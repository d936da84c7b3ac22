"""history.jsonl: every start of a run, and how it ended."""

from pathlib import Path

import pytest

from nemotron.errors import UserError
from nemotron.training.reporting.report.history import HISTORY, _keep, read_history, record_session


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


@pytest.mark.parametrize(
    ("value", "kind", "kept"),
    [
        (0, int, 0), (2**63 - 1, int, 2**63 - 1), (2**63, int, None), (-1, int, None), (True, int, None),
        (1.5, int, None), (1.5, float, 1.5), (2, float, 2), ("2", float, None), ("a", str, "a"), (1, str, None),
        (1, None, None), (["a", 1], [str], ["a"]), ("a", [str], None),
        ({"a": 1, "b": "x"}, {"a": int, "b": int}, {"a": 1}),
        ({"train": 3, "odd": "x"}, {"": int}, {"train": 3}), ([], {"a": int}, {}),
    ],
)  # fmt: skip
def test_of_a_damaged_event_only_what_has_the_right_type_is_kept(value, kind, kept) -> None:
    assert _keep(value, kind) == kept
    assert type(_keep(value, kind)) is type(kept)


@pytest.mark.parametrize(
    ("last", "lines"), [("", 2), ('{"event": "end"}\n', 3), ('{"event": "st', 3)], ids=["new", "whole", "cut off"]
)
def test_an_event_begins_a_line_of_its_own(tmp_path: Path, last: str, lines: int) -> None:
    (tmp_path / HISTORY).write_text(last)
    with record_session(tmp_path, {}, lambda: 0):
        pass
    written = (tmp_path / HISTORY).read_text()
    assert written.startswith(last)
    assert written.count("\n") == lines
    assert [event["event"] for event in read_history(tmp_path)][-2:] == ["start", "end"]


def test_a_failure_without_a_message_is_named_by_its_kind(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), record_session(tmp_path, {}, lambda: 0):
        raise KeyboardInterrupt
    assert read_history(tmp_path)[-1]["message"] == "KeyboardInterrupt"


def test_every_field_of_an_event_is_read_as_it_was_written(tmp_path: Path) -> None:
    facts = {
        "name": "tiny", "train_iters": 10, "global_batch_size": 8, "pack_size": 512,
        "data": {"reference": "ours:v1", "splits": "/data/splits", "packs": {"train": 8}},
        "machine": {"gpus": 2, "device": "H100", "describe": "2 x H100"},
        "flops_per_token": 1e9, "adapters_only": True, "origins": {"optimizer.lr": "command line"},
        "notes": ["A note."],
    }  # fmt: skip
    with pytest.raises(RuntimeError), record_session(tmp_path, facts, lambda: 4):
        raise RuntimeError("lost")
    start, end = read_history(tmp_path)
    assert start == {"event": "start", "time": start["time"], "iteration": 4, **facts}
    assert end == {"event": "end", "time": end["time"], "iteration": 4, "state": "failed", "message": "lost"}
