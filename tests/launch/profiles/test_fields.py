"""NeMo-Run's executors in a profile: their own fields, as the installed release has them."""

import dataclasses
from dataclasses import MISSING
from pathlib import Path
from typing import Any

import pytest

from nemotron.launch import ProfileError, place
from nemotron.launch.profiles import fields
from nemotron.launch.profiles.fields import CLASSES, executor_fields

LEPTON = ['container_image = "img"', 'nemo_run_dir = "/ws"']


@pytest.mark.slow
@pytest.mark.parametrize("executor", CLASSES)
def test_the_fields_are_those_of_the_dataclass(executor: str):
    import nemo_run

    known = {field.name: field for field in dataclasses.fields(getattr(nemo_run, CLASSES[executor])) if field.init}
    read = executor_fields(executor)
    ours = {"packager", "launcher", "env_vars", "experiment_id", "job_dir"}
    assert set(read) == set(known) - ours
    needed = {name for name, field in known.items() if field.default is field.default_factory is MISSING}
    assert {name for name, field in read.items() if field.required} >= needed


def test_what_the_constructor_does_not_take_is_no_field(tmp_path: Path):
    lines = ["a: int", "b: str = ''", "c: list = field(default_factory=list)", "d: int = field(init=False)"]
    lines += ["e: int = field(init=True)", "f: int = field(repr=False)", "g = 1", "def h(self): pass"]
    (tmp_path / "mine.py").write_text("\n    ".join(["class Other: pass\nclass Mine:", *lines]))
    read = fields._dataclass_fields(tmp_path / "mine.py", "Mine")
    assert {name: field.required for name, field in read.items()} == {
        "a": True, "b": False, "c": False, "e": False, "f": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("value", "kind", "fits"),
    [
        ({"a": 1, "b": 2}, dict[str, int], True),
        ({"a": 1, "b": "x"}, dict[str, int], False),
        ({"a": "x"}, dict, True),
        ([1], dict[str, int], False),
        (["a", 1], list[str], False),
        (["a", 1], list, True),
        ("a", list[str], False),
        (1, float, True),
        (True, float, False),
        (True, int, False),
        ("x", int | str, True),
        (None, int | str, False),
        (object(), Any, True),
    ],
)
def test_a_value_fits_an_annotation(value: object, kind: Any, fits: bool):
    assert fields._fits(value, kind) is fits


@pytest.mark.parametrize(
    ("executor", "lines", "said"),
    [
        ("skypilot", ["num_node = 2"], 'Did you mean "num_nodes"?'),
        ("skypilot", ['num_nodes = "2"'], "num_nodes should be a whole number"),
        ("skypilot", ["cpus = [1, 'x']"], "cpus should be"),
        ("lepton", ['container_image = "img"'], "nemo_run_dir"),
        ("lepton", [*LEPTON, 'mounts = ["/a:/a"]'], "mounts should be a list"),
        ("lepton", [*LEPTON, 'secrets = ["MINE"]'], "secret_vars"),
        ("kubeflow", ['workdir_pvc = "c"'], "image"),
        ("kubeflow", ['image = "i"', 'workdir_pvc = "c"', 'env_vars = { HF_TOKEN = "x" }'], "secretKeyRef"),
        ("kubeflow", ['image = "i"', 'workdir_pvc = "c"', 'partition = "batch"'], "partition"),
        ("slurm", ['shm_size = "1g"'], "shm_size"),
        ("skypylot", [], 'Did you mean "skypilot"?'),
    ],
)
def test_a_mistake_is_named_with_its_line(profile, executor: str, lines: list[str], said: str):
    with pytest.raises(ProfileError) as caught:
        profile(*lines, executor=executor)
    assert said in str(caught.value)
    assert "env.toml" in str(caught.value)


@pytest.mark.parametrize(
    "line", ['runtime = "nvidia"', 'ipc_mode = "host"', 'shm_size = "1g"', 'docker_args = ["--init"]']
)
def test_what_is_dockers_alone_is_refused_elsewhere(profile, line: str):
    profile(line, executor="docker")
    for other in ("slurm", "local"):
        with pytest.raises(ProfileError, match=line.split()[0]):
            profile(line, executor=other)


def test_nodes_and_processes_are_the_executors(profile, sft, prep):
    lines = ["num_nodes = 2", "gpus_per_node = 8", 'workdir = "/shared"', "[here.prep]", 'gpus = "L4"']
    on_prep, on_sft = place([prep, sft], profile(*lines, executor="skypilot"), attached=True)
    assert (on_sft.nodes, on_sft.processes, on_sft.ranks, on_sft.workdir) == (2, 8, 16, "/shared")
    assert (on_prep.nodes, on_prep.profile.options["gpus"]) == (1, "L4")


def test_a_profile_may_extend_one_of_another_executors_fields(profile, sft):
    child = "\n".join(["[far]", 'extends = "here"', "nodes = 3", "[far.sft]", "gpus_per_node = 4"])
    profile(*LEPTON, child, executor="lepton")
    from nemotron.launch import load_profile

    [placed] = place([sft], load_profile("far"), attached=True)
    assert (placed.nodes, placed.processes, placed.image) == (3, 4, "img")
