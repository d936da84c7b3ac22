"""`nemotron doctor`: what is here, what is missing, what to do; never a secret, nothing imported."""

import json
import subprocess
import sys

import pytest

from nemotron import doctor
from nemotron.cli.app import run


def parts(capsys: pytest.CaptureFixture[str]) -> dict[str, dict]:
    return {finding["part"]: finding for finding in json.loads(capsys.readouterr().out)["parts"]}


def test_what_is_missing_has_a_cost_and_advice(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(doctor, "is_there", lambda module: module != "mamba_ssm")
    assert run(["doctor", "--no-hub", "--json"]) == 0
    found = parts(capsys)
    assert found["mamba-ssm"]["found"] == ""
    assert "container" in found["mamba-ssm"]["advice"]
    assert "line" in found["megatron-bridge"]["found"]
    assert "hub" not in found


def test_a_stage_that_could_not_start_is_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(doctor, "is_there", lambda module: module != "torch")
    assert run(["doctor", "--no-hub"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert ["torch", "missing"] in [line.split() for line in lines]
    assert any(line.startswith("  torch: ") for line in lines)


def test_the_key_is_never_shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("WANDB_API_KEY", "s3cret")
    run(["doctor", "--no-hub"])
    shown = capsys.readouterr()
    assert "WANDB_API_KEY" in shown.out
    assert "s3cret" not in shown.out + shown.err


def test_a_hub_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch):
    for name in ("https_proxy", "HTTPS_PROXY", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://me:s3cret@127.0.0.1:9")
    hub = next(finding for finding in doctor.examine() if finding.part == "hub")
    assert (hub.found, "HF_ENDPOINT" in hub.advice) == ("", True)


def test_nothing_heavy_is_imported():
    code = (
        "import sys; from nemotron.doctor import examine; examine(hub=False);"
        "print([m for m in ('torch', 'transformers', 'nemo_run', 'megatron.core', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "command",
    [
        ["super3", "sft", "-c", "tiny"],
        ["super3", "model", "export", "run"],
    ],
)
def test_where_training_is_not_installed_its_commands_say_what_to_install(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(doctor, "is_there", lambda module: not module.startswith(("torch", "megatron")))
    assert run(command) == 1
    said = capsys.readouterr().err
    assert "torch, megatron-core, megatron-bridge" in said
    assert "nemotron[train]" in said


@pytest.mark.parametrize(
    ("stage", "there", "missing"),
    [
        ("prep", (), {"gigatoken", "zstandard"}),
        ("prep", ("zstandard",), {"gigatoken"}),
        ("sft", (), {"transformer-engine", "mamba-ssm"}),
        ("sft", ("mamba_ssm", "transformer_engine"), set()),
        ("launch", (), {"nemo-run"}),
    ],
)
def test_what_a_stage_may_do_without_is_told_with_its_cost(monkeypatch, stage, there, missing):
    monkeypatch.setattr(doctor, "is_there", lambda module: module in there)
    assert doctor.missing_extras(stage).keys() == missing
    assert all(doctor.missing_extras(stage).values())
