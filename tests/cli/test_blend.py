"""`data blend show` and `data blend check`, and a plan with missing domains."""

import json

import pytest

from nemotron.cli.app import run

ROW = {"messages": [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]}


@pytest.fixture
def blend(tmp_path):
    (tmp_path / "chat.jsonl").write_text(json.dumps(ROW) + "\n")
    entries = [
        {"path": "chat.jsonl", "weight": 3, "group": "public", "scale": "all there is"},
        {"path": None, "weight": 1, "domain": "science", "bring": "Questions, as messages."},
    ]
    path = tmp_path / "blend.json"
    path.write_text(json.dumps({"datasets": entries}))
    return path


def test_show_has_a_line_with_a_bar_for_each_domain(blend, capsys):
    assert run(["super3", "data", "blend", "show", str(blend)]) == 0
    shown = capsys.readouterr()
    lines = [line.split() for line in shown.out.splitlines()]
    assert ["chat", "75.0%", "█" * 10, "yes", "100.0%", "all", "there", "is"] in lines
    assert ["science", "25.0%", "█" * 3, "bring", "0.0%"] in lines
    assert "75%" in shown.out
    assert "science:" in shown.err


def test_show_of_the_shipped_blend_as_json(capsys):
    assert run(["super3", "data", "blend", "show", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["coverage"] == pytest.approx(0.48)
    assert len(shown["domains"]) == 21


def test_show_of_a_finished_run_has_what_it_got(blend, tmp_path, capsys):
    places = [f"blend_path={blend}", f"output_dir={tmp_path}/out", "train_ratio=1", "valid_ratio=0", "test_ratio=0"]
    assert run(["super3", "data", "prep", "sft", "-c", "tiny", "workers=1", *places]) == 0
    assert "75%" in capsys.readouterr().err
    assert run(["super3", "data", "blend", "show", str(blend), "--data", f"{tmp_path}/out", "--json"]) == 0
    chat, science = json.loads(capsys.readouterr().out)["domains"]
    assert (chat["got"], science["got"]) == (1.0, 0.0)


def test_a_plan_says_what_is_covered_and_strict_refuses(blend, capsys):
    line = ["super3", "data", "prep", "sft", "-c", "tiny", "--dry-run", f"blend_path={blend}"]
    assert run(line) == 0
    assert "75%" in capsys.readouterr().out
    assert run([*line, "--strict"]) == 1
    assert "science" in capsys.readouterr().err


def test_check_reads_the_first_row_of_each_dataset(blend, tmp_path, capsys):
    assert run(["super3", "data", "blend", "check", str(blend), "-c", "tiny"]) == 0
    assert "user assistant" in capsys.readouterr().out

    (tmp_path / "bad.jsonl").write_text('{"text": "no messages"}\n')
    (tmp_path / "empty.jsonl").write_text("")
    entries = [{"path": name} for name in ("chat.jsonl", "bad.jsonl", "empty.jsonl", "chta.jsonl")]
    entries.append({"path": "chat.jsonl", "name": "filtered", "filter": "super_v3"})
    blend.write_text(json.dumps({"datasets": entries}))
    assert run(["super3", "data", "blend", "check", str(blend), "-c", "tiny", "--json"]) == 1
    found = {entry["name"]: entry["problem"] for entry in json.loads(capsys.readouterr().out)["datasets"]}
    assert found["chat"] is None
    assert "bad.jsonl:1" in found["bad"]
    assert "no_messages" in found["bad"]
    assert "has no rows" in found["empty"]
    assert "does not exist" in found["chta"]
    assert "super_v3" in found["filtered"]
