"""The artifacts of a run's model and of its export, and what they were made from."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nemotron import lineage
from nemotron.training.checkpoints.checkpoint import Checkpoint
from nemotron.training.config import ConvertToHfConfig, RecipeConfig, RunConfig, SftConfig
from nemotron.training.weights import export_run as room

RUN: Any = SimpleNamespace(output=Path("out"), checkpoints=Path("out/checkpoints"))
DATA: Any = SimpleNamespace(reference="Data:v2", counts={"rows": 5})


@pytest.fixture
def logged(monkeypatch):
    """What was recorded; every export is noted in it too."""
    logged = []

    def log_artifact(**facts):
        logged.append(facts)
        return SimpleNamespace(reference=f"{facts['name']}:v1")

    monkeypatch.setattr(lineage, "log_artifact", log_artifact)
    monkeypatch.setattr(room, "compute_digest", lambda folder: f"digest of {folder}")
    monkeypatch.setattr(room, "export_hf", lambda *arguments: logged.append(("hf", *arguments)))
    monkeypatch.setattr(room, "export_adapter", lambda *arguments: logged.append(("adapter", *arguments)))
    return logged


def loaded(**sections):
    logger = {"wandb_project": "p", "wandb_entity": "e"}
    return SimpleNamespace(
        config=SftConfig(run=RunConfig(artifacts="records", output_dir="out"), logger=logger, **sections), tree={"a": 1}
    )


def plan(reference=None):
    return SimpleNamespace(start=SimpleNamespace(reference=reference), tokenizer="tokenizer")


RECORDS = {
    "metrics": [{"iteration": 1}, {"iteration": 9, "loss_stage": "sample", "token_loss": 1, "sample_loss": 2, "lr": 3}],
    "validation": [{"iteration": 8, "token_loss": 4, "sample_loss": 5, "packs": 6}],
    "test": [],
}
CHECKPOINT = Checkpoint(Path("iter_9"))


def finished(loaded, plan, records=RECORDS):
    return room.FinishedRun(loaded, plan, DATA, RUN, CHECKPOINT, records)


EVERYWHERE = {
    "type": "model", "aliases": ["latest"], "config": {"a": 1}, "root": Path("records"), "wandb_project": "p",
    "wandb_entity": "e",
}  # fmt: skip


def test_a_model_is_recorded_with_its_last_losses_and_what_it_was_made_from(logged):
    assert room.log_model(finished(loaded(), plan("Base:v1"))) == "ModelArtifact-sft:v1"
    assert logged == [
        {
            "name": "ModelArtifact-sft",
            "path": Path("out/checkpoints"),
            "inputs": ["Data:v2", "Base:v1"],
            "digest": "digest of iter_9",
            "metadata": {
                "iteration": 9,
                "loss_stage": "sample",
                "token_loss": 1,
                "sample_loss": 2,
                "validation": {"iteration": 8, "token_loss": 4, "sample_loss": 5},
                "data": {"rows": 5},
            },
            **EVERYWHERE,
        }
    ]


@pytest.mark.parametrize(
    ("seed", "reference", "inputs"),
    [
        (None, None, []),
        (0, None, ["random weights, seed 0: org/model"]),
        (0, "Base:v1", ["Base:v1"]),
    ],
)
def test_a_model_is_made_from_its_start(logged, monkeypatch, seed, reference, inputs):
    monkeypatch.setattr(room, "describe_source", lambda name: (name, ""))
    config = loaded(recipe=RecipeConfig(hf_model="org/model", random_start=seed))
    room.log_model(finished(config, plan(reference), {**RECORDS, "metrics": []}))
    assert logged[0]["inputs"] == ["Data:v2", *inputs]
    assert logged[0]["metadata"]["iteration"] is None


@pytest.mark.parametrize(
    ("adapter", "folder", "kind", "name", "expected"),
    [
        (False, None, "hf", "ModelArtifact-sft-hf", Path("out/hf").absolute()),
        (True, None, "adapter", "ModelArtifact-sft-adapter", Path("out/adapter").absolute()),
        (False, "mine", "hf", "ModelArtifact-sft-hf", Path("mine").absolute()),
    ],
)
def test_an_export_is_made_of_the_recorded_checkpoint_and_recorded_too(logged, adapter, folder, kind, name, expected):
    sections = {
        "convert_to_hf": ConvertToHfConfig(enabled=True, adapter=adapter, output_dir=folder),
        "recipe": RecipeConfig(hf_model="org/model"),
    }
    assert room.export_run(finished(loaded(**sections), plan()), "Model:v3") == (expected, f"{name}:v1")
    made, recorded = logged
    assert made == (kind, CHECKPOINT, expected, "org/model", "tokenizer")
    assert recorded == {
        "name": name, "path": expected, "inputs": ["Model:v3"], "metadata": None, "digest": None, **EVERYWHERE,
    }  # fmt: skip


@pytest.mark.parametrize(("adapter", "name"), [(False, "ModelArtifact-sft-hf"), (True, "ModelArtifact-sft-adapter")])
def test_an_export_outside_of_a_run_is_made_from_its_checkpoint(logged, adapter, name):
    artifact = room.record_export(Path("iter"), Path("hf"), Path("records"), adapter=adapter)
    assert artifact.reference == f"{name}:v1"
    assert logged == [{"name": name, "type": "model", "path": Path("hf"), "root": Path("records"), "inputs": ["iter"]}]
