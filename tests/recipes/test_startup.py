"""The first step of a job: what is here, what is missing."""

import pytest

from nemotron import doctor
from nemotron.recipes import startup


@pytest.mark.parametrize("stage", ["prep", "sft"])
def test_one_line_for_each_thing_that_matters(stage: str, capsys: pytest.CaptureFixture[str]):
    assert startup.main([stage]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Python 3.")
    assert any(line.startswith({"prep": "pyarrow ", "sft": "megatron-bridge "}[stage]) for line in lines)


def test_what_is_missing_ends_the_job_with_what_to_set(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(doctor, "is_there", lambda module: module not in ("omegaconf", "ray", "gigatoken"))
    assert startup.main(["prep", "ray"]) == 1
    shown = capsys.readouterr()
    assert 'install = ["omegaconf", "ray"]' in shown.err
    assert 'install = ["gigatoken"]' in shown.out, "what only makes it slower is a note"
