import dataclasses
from dataclasses import dataclass, field
from typing import Any

import pytest
import yaml

from nemotron.config import ConfigError, load_config
from nemotron.config.interpolate import is_open
from nemotron.lineage import log_artifact


@dataclass
class Run:
    data: str = "Data:latest"
    model: str | None = None
    artifacts: str = ""


@dataclass
class Schema:
    run: Run = field(default_factory=Run)
    dataset: dict[str, Any] = field(default_factory=dict)
    length: int | None = None


@pytest.fixture
def load(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    root, splits = tmp_path / "artifacts", tmp_path / "splits"
    splits.mkdir()
    facts = {"pack_size": 4096, "tokenizer": {"vocab_size": 7}}
    log_artifact(name="Data", type="dataset", path=splits, root=root, metadata=facts, aliases=["tiny"])

    def load(text, **options):
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump({"run": {"artifacts": str(root)}}) + text)
        return load_config(str(path), schema=Schema, **options)

    return load


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("${art:data,pack_size}", 4096),
        ("${art:data,tokenizer.vocab_size}", 7),
        ("${art:data,reference}", "Data:v1"),
        ("${art:Data:tiny,name}", "Data"),
        ("${art:data,path}/train", "{tmp_path}/splits/train"),
    ],
)
def test_a_fact_of_the_artifact_that_a_key_of_run_names(load, tmp_path, written, value):
    expected = value.format(tmp_path=tmp_path) if isinstance(value, str) else value
    assert load(f"dataset: {{value: '{written}'}}").config.dataset["value"] == expected
    if value == 4096:
        assert load(f"length: {written}").config.length == 4096


@pytest.mark.parametrize(
    ("written", "key", "hint"),
    [
        ("${art:data,pack_siz}", "pack_siz", 'Did you mean "pack_size"?'),
        ("${art:Dta,path}", "Dta", 'Did you mean "Data"?'),
        ("${art:model,path}", "run.model", "Set run.model."),
    ],
)
def test_what_is_not_there_is_named_with_its_line(load, written, key, hint):
    with pytest.raises(ConfigError, match=r"mine\.yaml:\d+.*dataset\.value") as caught:
        load(f"dataset: {{value: '{written}'}}")
    assert key in caught.value.message
    assert hint in caught.value.hint


def test_a_job_looks_it_up_when_it_starts(load, tmp_path):
    loaded = load("dataset: {value: '${art:data,path}/train', other: 'a $\\{b'}\nlength: ${art:data,pack_size}",
                  leave_artifacts=True)  # fmt: skip
    assert (loaded.config.dataset["value"], loaded.config.length) == (None, None)
    assert loaded.tree["dataset"]["value"] == "${art:data,path}/train"
    assert is_open(loaded.tree)
    assert loaded.convert_unexpanded() == loaded.config
    (tmp_path / "job.yaml").write_text(loaded.to_yaml())
    there = load_config(str(tmp_path / "job.yaml"), schema=Schema)
    assert there.config.dataset["value"] == f"{tmp_path}/splits/train"
    assert there.config.length == 4096
    assert dataclasses.asdict(there.config) == there.tree
