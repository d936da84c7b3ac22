"""A blend's `checks`: what they count, seen from `prepare` to metadata.json and the report."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nemotron.data_prep.config import DataPrepConfig
from nemotron.data_prep.output.metadata import CheckStats, DatasetStats
from nemotron.data_prep.pipeline import prepare
from nemotron.data_prep.sources.blend import read_blend
from nemotron.errors import UserError

TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
CALL = {"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}


def calling() -> dict[str, Any]:
    messages = [
        {"role": "user", "content": "Look."},
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "1", "content": "nothing"},
        {"role": "assistant", "content": "Nothing."},
    ]
    return {"messages": messages, "tools": [TOOL]}


@pytest.fixture
def prepared(write_rows: Callable[..., Path], make_config: Callable[..., DataPrepConfig]) -> Callable[..., Any]:
    """Prepare rows with the checks of their dataset; give the dataset's statistics, and the report."""

    def run(rows: list[Any], checks: list[str] | None) -> tuple[DatasetStats, str]:
        write_rows("rows.jsonl", rows)
        blend = {"datasets": [{"path": "rows.jsonl", "checks": checks}]}
        result = prepare(make_config(blend=blend, pack_size=8192))
        return result.metadata.datasets[0], (result.splits_dir.parent / "report.html").read_text()

    return run


def test_tool_calls_are_counted_by_conversation(prepared: Any, chat: Any) -> None:
    offered = chat("Must you look?", "No, not for that.", tools=[TOOL])
    rows = [calling(), offered, chat("Without?", "Without."), chat("And this?", "Likewise.")]
    stats, report = prepared(rows, ["tool_calls"])
    assert stats.checks == [
        CheckStats("tool_calls", "has no tools", 2, 0.5),
        CheckStats("tool_calls", "calls tools", 1, 0.25),
        CheckStats("tool_calls", "is offered tools and calls none", 1, 0.25),
    ]
    assert "is offered tools and calls none" in report


def test_languages_are_counted_and_are_no_notes(prepared: Any, chat: Any) -> None:
    rows = [chat(f"Frage {i}?", "Das ist nicht die Frage, und der Rest auch nicht.") for i in range(3)]
    rows.append(chat("Question?", "Bonjour.", language="fr"))
    stats, report = prepared(rows, ["languages"])
    assert [(check.found, check.conversations, check.share) for check in stats.checks] == [
        ("de", 3, 0.75),
        ("fr", 1, 0.25),
    ]
    assert "language" not in {note.kind for note in stats.notes}
    assert "75.0%" in report


def test_lengths_are_told_apart_by_the_pack_size(prepared: Any, chat: Any) -> None:
    words = "word " * 3_000
    rows = [chat("Short?", "Yes."), chat(f"Summarise: {words}", "Words."), chat(f"Again: {words}", "Still words.")]
    stats, _ = prepared(rows, ["lengths"])
    counts = {check.found: check.conversations for check in stats.checks}
    assert counts["at most 1,024 tokens"] == 1
    assert counts["more than the pack size of 8,192"] == 2
    assert sum(counts.values()) == 3


def test_without_checks_nothing_is_counted(prepared: Any) -> None:
    stats, report = prepared([calling()], None)
    assert stats.checks == []
    assert 'id="checks"' not in report


@pytest.mark.parametrize(
    ("checks", "named"), [(["lenghts"], '"lengths"'), ("lengths", "'lengths'"), ([3], '"3"'), ({}, "{}")]
)
def test_a_check_that_there_is_not_is_refused(tmp_path: Path, checks: object, named: str) -> None:
    path = tmp_path / "blend.json"
    path.write_text(json.dumps({"datasets": [{"path": "x.jsonl", "checks": checks}]}))
    with pytest.raises(UserError) as refused:
        read_blend(path)
    assert named in str(refused.value)
    assert "datasets[0]" in str(refused.value)
