import logging
import sys

import pytest
import wandb

from nemotron.lineage import log_artifact, resolve


class RecordingRun:
    """Stands in for an online W&B run, which needs an account."""

    offline = False

    def __init__(self):
        self.used, self.logged, self.finished = [], [], False

    def use_artifact(self, artifact):
        self.used.append(artifact.name)

    def log_artifact(self, artifact, aliases):
        self.logged.append((artifact.name, artifact.type, artifact.metadata, aliases))

    def finish(self):
        self.finished = True


@pytest.fixture
def made(tmp_path):
    """Logs a data artifact and a model made from it."""

    def make(**options):
        for name in ("data", "model"):
            (tmp_path / name).mkdir(exist_ok=True)
        root = tmp_path / "artifacts"
        data = log_artifact(name="Data", type="dataset", path=tmp_path / "data", root=root)
        return log_artifact(
            name="Model", type="model", path=tmp_path / "model", root=root, inputs=[data, "/raw"], **options
        )

    return make


def test_without_a_project_wandb_is_not_even_imported(made, monkeypatch):
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    monkeypatch.setitem(sys.modules, "nemotron.lineage.wandb", None)  # importing it would fail
    assert made().version == 1


def test_the_same_record_and_its_inputs_go_to_the_active_run(made, monkeypatch):
    run = RecordingRun()
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    monkeypatch.setattr(wandb, "run", run)
    artifact = made(wandb_project="sft", aliases=["tiny"], metadata={"tokens": 5})
    assert run.used == ["Data"]
    metadata = {"tokens": 5, "inputs": ["Data:v1", "/raw"], "path": artifact.path}
    assert run.logged == [("Model", "model", metadata, ["latest", "tiny"])]
    assert not run.finished  # it is the trainer's


def test_without_an_active_run_it_opens_and_ends_one(made, monkeypatch):
    run, opened = RecordingRun(), []
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    monkeypatch.setattr(wandb, "run", None)
    monkeypatch.setattr(wandb, "init", lambda **options: opened.append(options) or run)
    made(wandb_project="sft", wandb_entity="team")
    assert [(options["project"], options["entity"]) for options in opened] == [("sft", "team")]
    assert run.finished


def test_a_failing_service_costs_a_warning_not_the_artifact(made, monkeypatch, caplog, tmp_path):
    def refuse(**options):
        raise ConnectionError("no route to host")

    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    monkeypatch.setattr(wandb, "run", None)
    monkeypatch.setattr(wandb, "init", refuse)
    with caplog.at_level(logging.WARNING):
        artifact = made(wandb_project="sft")
    assert "not in W&B: no route to host" in caplog.text
    assert resolve("Model", tmp_path / "artifacts") == artifact


def test_offline_the_real_client_writes_the_artifact_to_its_file(made, monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    wandb.teardown()  # it reads the environment once per process
    made(wandb_project="sft", metadata={"a_number_to_find": 7})
    assert not [record for record in caplog.records if record.name.startswith("nemotron")]
    wandb.teardown()  # its writer process ends, so everything is in the file
    written = b"".join(path.read_bytes() for path in tmp_path.glob("artifacts/wandb/offline-run-*/*.wandb"))
    assert b"a_number_to_find" in written
