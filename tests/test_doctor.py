"""`nemotron doctor`: what is here, what is missing, what to do; never a secret, nothing imported."""

import json
import os
import shutil
import socket
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nemotron import doctor
from nemotron.cli.app import run
from nemotron.doctor import Finding
from nemotron.errors import UserError


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


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> dict[str, Finding]:
    """What is found where nothing is."""
    monkeypatch.setattr(doctor, "is_there", lambda module: False)
    monkeypatch.setattr(shutil, "which", lambda command: None)
    monkeypatch.setattr("nemotron.lineage.access.find_key", lambda: None)
    return {finding.part: finding for finding in doctor.examine(hub=False)}


@pytest.mark.parametrize(
    ("part", "cost", "advice"),
    [
        ("typer", "data prep and training cannot start", "Install typer."),
        ("numpy", "data prep cannot start", "Install numpy."),
        ("torch", "training cannot start", "Run uv sync, or install nemotron[train]."),
        ("gigatoken", "tokenizing is about thirty times slower", "Install gigatoken."),
        ("ray", "engine=ray is not available", "Run uv sync --extra ray, or install nemotron[ray]."),
        ("nemo-run", "--run and --batch cannot submit to a cluster", "Run uv sync, or install nemotron[launch]."),
        ("mamba-ssm", "the Mamba layers run in plain torch, which is slow", "Use the NeMo container, which has it."),
        ("Slurm", 'jobs are not submitted from here; tunnel = "ssh" reaches a login node', "Submit from a login node."),
        ("rsync", 'profiles with tunnel = "ssh" do not work', "Install rsync."),
        (
            "W&B key",
            "runs are recorded offline, not sent to Weights & Biases",
            "Set WANDB_API_KEY, or run wandb login.",
        ),
    ],
)
def test_each_missing_part_says_what_it_costs_and_how_to_get_it(found, part: str, cost: str, advice: str):
    needed = part in {package for packages in doctor.NEEDED.values() for package in packages.values()}
    assert found[part] == Finding(part, "", cost, advice, needed)


def test_every_part_is_examined(found):
    packages = {package for modules in doctor.NEEDED.values() for package in modules.values()}
    optional = {package for _, _, package in doctor.OPTIONAL.values()}
    others = {"Python", "CUDA", "Slurm", "ssh", "rsync", "W&B key", "disk", "memory"}
    assert found.keys() == packages | optional | others
    assert all(found[part].cost for part in packages | optional)


@pytest.mark.parametrize(("version", "line"), [("0.6.2rc1", "0.6.2rc1 (the 0.6 line)"), (None, "found")])
def test_what_is_installed_has_its_version(monkeypatch: pytest.MonkeyPatch, version: str | None, line: str):
    monkeypatch.setattr(doctor, "is_there", lambda module: True)
    monkeypatch.setattr(doctor, "version", lambda package: version)
    monkeypatch.setattr(shutil, "which", lambda command: f"/bin/{command}")
    parts = {finding.part: finding for finding in doctor.examine(hub=False)}
    assert parts["megatron-bridge"] == Finding("megatron-bridge", line, needed=True)
    assert parts["torch"] == Finding("torch", version or "found", needed=True)
    assert parts["zstandard"] == Finding("zstandard", version or "found")
    assert parts["Slurm"] == Finding("Slurm", "/bin/sbatch")
    assert doctor.missing_packages("prep", ray=True) == doctor.missing_packages("sft") == []


def test_ray_is_needed_only_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor, "is_there", lambda module: module != "ray")
    assert (doctor.missing_packages("prep"), doctor.missing_packages("prep", ray=True)) == ([], ["ray"])


@pytest.mark.parametrize(
    ("module", "there"), [("json", True), ("json.tool", True), ("no_such", False), ("no_such.tool", False), ("", False)]
)
def test_a_module_is_looked_for_with_those_around_it(module: str, there: bool):
    assert doctor.is_there(module) is there


def test_the_version_of_what_is_not_installed_is_none():
    assert doctor.version("pytest") == pytest.__version__
    assert doctor.version("no-such-package") is None


@pytest.mark.parametrize(
    ("there", "python", "message", "hint"),
    [
        (("megatron.core", "megatron.bridge"), (3, 12), "needs torch, which is not", "says how."),
        (("megatron.bridge",), (3, 13), "needs torch, megatron-core, which are not", "Python 3.12; this is 3.13.1."),
    ],
)
def test_training_without_its_packages_is_refused_and_another_python_named(monkeypatch, there, python, message, hint):
    installed = (*there, "typer", "omegaconf", "yaml")
    monkeypatch.setattr(doctor, "is_there", lambda module: module in installed)
    monkeypatch.setattr(
        doctor, "sys", SimpleNamespace(version_info=(*python, 1), version=f"{python[0]}.{python[1]}.1 x")
    )
    with pytest.raises(UserError) as refused:
        doctor.refuse_without_training()
    assert refused.value.message.startswith(f"Training {message}")
    assert str(refused.value.hint).endswith(hint)


@pytest.mark.parametrize(
    ("files", "tool", "shown"),
    [
        ([], None, ""),
        ([], "/bin/nvidia-smi", "a driver"),
        (["version"], None, "a driver"),
        (["version", "gpus/0", "gpus/1"], None, "a driver, 2 GPUs"),
    ],
)
def test_gpus_are_counted_without_cuda(monkeypatch, tmp_path: Path, files: list[str], tool: str | None, shown: str):
    for name in files:
        path = tmp_path / "proc/driver/nvidia" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.setattr(doctor, "Path", lambda path: tmp_path / path.lstrip("/"))
    monkeypatch.setattr(shutil, "which", lambda command: tool if command == "nvidia-smi" else None)
    gpu = doctor._gpu()
    assert (gpu.part, gpu.found) == ("CUDA", shown)
    assert bool(gpu.cost) == bool(gpu.advice) == (not shown)


@pytest.mark.parametrize(("free", "enough"), [(10 * 2**30, True), (10 * 2**30 - 1, False)])
def test_little_room_on_the_disk_is_named(monkeypatch, tmp_path: Path, free: int, enough: bool):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free) if path == tmp_path else None)
    disk = doctor._disk()
    assert (disk.part, disk.found) == ("disk", f"10 GiB free in {tmp_path}")
    assert (disk.cost == "", disk.advice == "") == (enough, enough)


def test_the_memory_of_the_machine_is_shown(found, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 2**19}.get)
    assert doctor.examine(hub=False)[-1] == Finding("memory", "2 GiB")
    assert found["Python"].found == f"{sys.version.split()[0]} ({sys.executable})"


@pytest.mark.parametrize(
    ("variables", "address", "name"),
    [
        ({}, ("huggingface.co", 443), "huggingface.co"),
        ({"HF_ENDPOINT": "http://mirror"}, ("mirror", 80), "mirror"),
        ({"HF_ENDPOINT": "https://mirror:8443"}, ("mirror", 8443), "mirror"),
        ({"https_proxy": "http://proxy:3128"}, ("proxy", 3128), "huggingface.co through a proxy"),
        ({"HTTPS_PROXY": "http://proxy"}, ("proxy", 80), "huggingface.co through a proxy"),
        ({"https_proxy": "proxy", "HF_ENDPOINT": "mirror"}, ("", 443), "mirror through a proxy"),
    ],
)
def test_the_hub_is_reached_where_the_variables_say(monkeypatch, variables: dict[str, str], address, name: str):
    asked: list[Any] = []
    for variable in ("HF_ENDPOINT", "https_proxy", "HTTPS_PROXY", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr(
        socket, "create_connection", lambda *where, timeout: asked.append((*where, timeout)) or nullcontext()
    )
    assert doctor.is_hub_reachable()
    assert doctor._hub() == Finding("hub", name)
    assert asked == [(address, 5.0), (address, 1.0)]


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9", "http://host:port"])
def test_a_hub_that_is_out_of_reach_is_not_waited_for(monkeypatch, endpoint: str):
    for variable in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    assert not doctor.is_hub_reachable()


@pytest.mark.parametrize(
    ("value", "offline"),
    [("1", True), ("true", True), ("YES", True), ("on", True), ("0", False), ("", False), (None, False)],
)
def test_the_hub_may_be_left_alone(monkeypatch, value: str | None, offline: bool):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    if value is not None:
        monkeypatch.setenv("HF_HUB_OFFLINE", value)
    assert doctor.is_hub_offline() is offline
    monkeypatch.setattr(doctor, "connect_to_hub", lambda seconds: "reached")
    assert (doctor._hub().found, "HF_HUB_OFFLINE" in doctor._hub().advice) == ("" if offline else "reached", offline)
