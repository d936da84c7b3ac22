"""`data rollouts`, as a user types it."""

import json

import pytest

from nemotron.cli.app import run


@pytest.fixture
def chat(tmp_path):
    row = {"messages": [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]}
    (tmp_path / "chat.jsonl").write_text(json.dumps(row) + "\n")
    return tmp_path / "chat.jsonl"


def test_a_dry_run_shows_the_plan_and_sends_nothing(chat, tmp_path, capsys):
    assert run(["super3", "data", "rollouts", f"prompts.source={chat}", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    for word in ("1 of 1 different", "http://localhost:8000/v1", "sampling.temperature"):
        assert word in shown
    assert list(tmp_path.iterdir()) == [chat]


def test_no_server_is_one_sentence_and_what_to_do(chat, capsys):
    line = ["super3", "data", "rollouts", f"prompts.source={chat}", "endpoint.base_url=http://127.0.0.1:9/v1"]
    assert run([*line, "endpoint.retries=0"]) == 1
    shown = capsys.readouterr().err
    assert "error: http://127.0.0.1:9/v1" in shown
    assert "hint: " in shown


def test_a_config_forgotten_c(capsys):
    assert run(["super3", "data", "rollouts", "default"]) == 2
    assert "-c default" in capsys.readouterr().err
