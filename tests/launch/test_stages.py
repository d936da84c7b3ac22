"""A stage's config: the loaded one, fit to be written to a file and read on another machine."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from nemotron.config import config_dir, load_config
from nemotron.errors import UserError
from nemotron.launch import make_prep_stage, make_sft_stage
from nemotron.training.config import SftConfig


@dataclass
class Run:
    nproc_per_node: Any = "auto"
    output_dir: str = "output/sft"
    env: dict[str, Any] = field(default_factory=dict)


@dataclass
class Export:
    timeout_minutes: int = 240


@dataclass
class Config:
    convert_to_hf: Export = field(default_factory=Export)
    run: Run = field(default_factory=Run)
    engine: str = "local"
    ray_address: str | None = None
    output_dir: str = "output/data"
    sample: int | None = None
    checkpoint: dict[str, Any] = field(default_factory=dict)
    blend_path: str = ""
    text: str = ""
    paths: list[str] = field(default_factory=list)
    logger: dict[str, Any] = field(default_factory=dict)


def load(work: Path, text: str, *overrides: str):
    path = work / "mine.yaml"
    path.write_text(text)
    return load_config(str(path), overrides, schema=Config)


def test_shipped_paths_are_found_again_wherever_the_configs_lie(work: Path):
    loaded = load(work, "blend_path: ${config_dir:data_prep/blend_tiny.json}\npaths: ['${config_dir:tiny_model}', a/b]")
    stage = make_prep_stage(loaded)
    assert str(config_dir()) not in str(stage.config)
    assert make_prep_stage(load(work, "text: '${config_dir:}'")).config["text"] == "${config_dir:}"
    beside = f"{config_dir()}-mine"
    assert make_prep_stage(load(work, f"text: {beside}")).config["text"] == beside
    (work / "job.yaml").write_text(yaml.safe_dump(stage.config))
    assert load_config("job.yaml", schema=Config).tree | {"run": None} == loaded.tree | {"run": None}


def test_what_was_resolved_is_not_resolved_again(work: Path):
    loaded = load(work, r"text: 'a \${b} c'")
    assert loaded.config.text == "a ${b} c"
    (work / "job.yaml").write_text(yaml.safe_dump(make_prep_stage(loaded).config))
    assert load_config("job.yaml", schema=Config).config.text == "a ${b} c"


def test_a_secret_in_the_config_is_refused_without_telling_it(work: Path):
    with pytest.raises(UserError, match=r"mine\.yaml:2: logger\.wandb_api_key") as caught:
        make_prep_stage(load(work, "logger:\n  wandb_api_key: s3cret"))
    assert "s3cret" not in str(caught.value)
    for text in ("text: s3://KEY:s3cret@bucket", "paths: [a, 's3://KEY:s3cret@bucket']"):
        with pytest.raises(UserError, match=text.partition(":")[0]) as caught:
            make_prep_stage(load(work, text))
        assert "s3cret" not in str(caught.value)


def test_what_was_read_from_a_variable_that_names_a_secret_is_one(work: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MY_TOKEN", "correct-horse")
    with pytest.raises(UserError, match="text") as caught:
        make_prep_stage(load(work, "text: user-${oc.env:MY_TOKEN}"))
    assert "correct-horse" not in str(caught.value)


def test_training_takes_processes_and_container_from_the_config(work: Path):
    assert make_sft_stage(load(work, "{}")).processes_per_node is None
    stage = make_sft_stage(load(work, "{run: {env: {container: image}}}", "run.nproc_per_node=2"))
    assert (stage.processes_per_node, stage.container, stage.distributed) == (2, "image", True)


@pytest.mark.parametrize(("minutes", "seconds"), [(2, 420), (0, 300), (-1, 300)])
def test_slurm_leaves_the_nodes_that_wait_for_an_export_alone(work: Path, minutes: int, seconds: int):
    stage = make_sft_stage(load(work, "{}", f"convert_to_hf.timeout_minutes={minutes}"))
    assert stage.ends_within == seconds


@pytest.mark.parametrize(
    ("overrides", "own_cluster"),
    [([], False), (["engine=ray"], True), (["engine=ray", "ray_address=10.0.0.1:6379"], False)],
)
def test_a_job_brings_its_own_ray_cluster_unless_one_is_named(work: Path, overrides: list[str], own_cluster: bool):
    assert make_prep_stage(load(work, "text: x", *overrides)).ray == own_cluster


def test_the_home_in_a_jobs_path_is_the_one_where_it_runs(work: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", "/home/laptop")
    (work / "mine.yaml").write_text("run: {output_dir: ~/run}")
    loaded = load_config(str(work / "mine.yaml"), schema=SftConfig)
    (work / "job.yaml").write_text(yaml.safe_dump(make_sft_stage(loaded).config))
    monkeypatch.setenv("HOME", "/home/cluster")
    assert load_config("job.yaml", schema=SftConfig).config.run.output_dir == "/home/cluster/run"


def test_a_stage_says_which_folders_it_writes_to(work: Path):
    assert make_prep_stage(load(work, "sample: 5")).writes == {"output_dir": "output/data/sample-5"}
    assert make_sft_stage(load(work, "checkpoint: {save: /ckpt}")).writes == {
        "run.output_dir": "output/sft",
        "checkpoint.save": "/ckpt",
    }
