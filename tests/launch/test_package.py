"""The files of a job, and the script that a node runs: executed here by a real bash."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nemotron.launch import Placement, Profile, Stage, place
from nemotron.launch.package import _rendezvous_lines, launch_line, launch_script, shell_word, write_package
from nemotron.launch.stages import TORCHRUN, TRAIN_SCRIPT

SFT = Stage("sft", TRAIN_SCRIPT, {}, "tiny", distributed=True)


def on(profile: Profile, stage: Stage = SFT) -> Placement:
    return place([stage], profile, attached=True)[0]


def run(script: Path, record: Path) -> tuple[str, str, dict[str, str]]:
    """Arguments, folder and environment that the stage's process was started with."""
    subprocess.run(["bash", str(script)], check=True, env={"PATH": os.environ["PATH"], "RECORD": str(record)})
    arguments, folder, *variables = record.read_bytes().decode().rstrip("\0").split("\0")
    return arguments, folder, dict(variable.split("=", 1) for variable in variables)


def test_a_package_runs_by_itself(tmp_path: Path, prep: Stage, fake_python: Path):
    package = tmp_path / "a b" / "code"
    profile = Profile(
        "slurm",
        python=str(fake_python),
        workdir=str(tmp_path / "work dir"),
        env_vars={"PYTHONPATH": "/profiles"},
        startup_commands=("export FROM_STARTUP=1", "touch started"),
    )
    write_package(package, on(profile, prep))
    arguments, folder, environment = run(package / "launch.sh", tmp_path / "record")
    script, option, config = arguments.removesuffix("tiny.yaml").partition(" --config ")
    assert (Path(script).name, option, config) == ("data_prep.py", " --config ", f"{package}/")
    assert Path(script).is_file()
    assert yaml.safe_load((package / "tiny.yaml").read_text()) == prep.config
    assert folder == str(tmp_path / "work dir")
    assert environment["FROM_STARTUP"] == "1"
    assert environment["PYTHONPATH"] == f"{package}:/profiles"
    assert (package / "launch.sh").stat().st_mode & 0o777 == 0o700


def test_the_packaged_code_is_what_is_imported_with_its_configs(tmp_path: Path, prep: Stage):
    write_package(tmp_path / "code", on(Profile("slurm"), prep))
    code = "import nemotron.config as c; print(c.config_dir(), c.config_dir().is_dir())"
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "code")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [f"{tmp_path}/code/nemotron/_config", "True"]


@pytest.mark.slow
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=40))
def test_variables_arrive_as_they_are_written(tmp_path: Path, prep: Stage, fake_python: Path, value: str):
    profile = Profile("slurm", python=str(fake_python), env_vars={"lower_Case": value, "AFTER": "1"})
    script = tmp_path / "launch.sh"
    script.write_text(launch_script(on(profile, prep)))
    assert len(script.read_text().splitlines()) == 12, "a value adds no line"
    _, _, environment = run(script, tmp_path / "record")
    assert environment["lower_Case"] == value
    assert environment["AFTER"] == "1"


@pytest.mark.parametrize(
    ("profile", "processes"),
    [
        (Profile("slurm", gpus_per_node=8, ntasks_per_node=4), 4),
        (Profile("slurm", gpus_per_node=8), 8),
        (Profile("slurm"), 1),
    ],
)
def test_one_node_runs_torchrun_for_the_profiles_processes(profile: Profile, processes: int):
    started = f'"$code/nemotron/{TORCHRUN}" --nproc-per-node={processes} --standalone "$code/nemotron/{TRAIN_SCRIPT}" '
    assert started in launch_line(on(profile))


def test_several_nodes_meet_at_the_first(sft: Stage):
    line = launch_line(on(Profile("slurm", nodes=4, gpus_per_node=8), sft))
    assert "--nproc-per-node=8 --nnodes=4 --node-rank=$SLURM_NODEID" in line
    assert "--master-addr=$MASTER_ADDR --master-port=$MASTER_PORT" in line


def test_data_prep_is_one_process_on_one_node(prep: Stage):
    assert "torch" not in launch_line(on(Profile("slurm", nodes=4, gpus_per_node=8), prep))


def test_data_prep_with_ray_runs_on_a_cluster_of_all_nodes(prep: Stage):
    stage = replace(prep, ray=True)
    profile = Profile("slurm", nodes=4, python="/opt/python")
    assert on(profile, stage).nodes == 4
    ray_node = '/opt/python "$code/nemotron/recipes/ray_node.py" /opt/python '
    assert launch_line(on(profile, stage)).startswith(
        ray_node + '"$code/nemotron/recipes/super3/stage1_sft/data_prep.py"'
    )
    assert 'export RAY_CLUSTER_DIR="$code/.."' in launch_script(on(profile, stage)).splitlines()
    assert "ray_node" not in launch_script(on(Profile("local"), stage)), "Ray starts one on this machine by itself"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("plain", "plain"),
        ("it's", "'it'\"'\"'s'"),
        ("a\n'b'\\\u0107", "$'a\\x0a\\'b\\'\\\\\u0107'"),
        ("\x7f", "$'\\x7f'"),
    ],
)
def test_any_text_is_one_word_on_one_line(text: str, word: str):
    assert shell_word(text) == word


def test_a_missing_interpreter_is_said_with_what_to_set(tmp_path: Path, prep: Stage):
    write_package(tmp_path / "code", on(Profile("slurm", name="here", python="/nowhere/python"), prep))
    done = subprocess.run(["bash", tmp_path / "code/launch.sh"], capture_output=True, text=True, check=False)
    assert done.returncode == 127
    assert "/nowhere/python" in done.stderr
    assert "profile here" in done.stderr


def test_packages_are_installed_once_into_the_jobs_folder(tmp_path: Path, prep: Stage):
    """A stand-in for the interpreter, which records what pip is asked for."""
    python, wheel = tmp_path / "python", tmp_path / "mine-1.0-py3-none-any.whl"
    python.write_text(f'#!/bin/bash\necho "$@" >> {tmp_path}/calls; echo "$PYTHONPATH" > {tmp_path}/path\n')
    python.chmod(0o755)
    wheel.touch()
    profile = Profile("slurm", python=str(python), install=("gigatoken>=0.10", str(wheel)))
    code = tmp_path / "job" / "code"
    write_package(code, on(profile, prep))
    for _ in range(2):
        subprocess.run(["bash", code / "launch.sh"], check=True)
    asked = [line for line in (tmp_path / "calls").read_text().splitlines() if "pip" in line]
    assert asked == [f"-m pip install --quiet --target {code}/../site gigatoken>=0.10 {code}/wheels/{wheel.name}"]
    assert (tmp_path / "path").read_text().startswith(f"{code}:{code}/../site")


def test_a_package_without_code_goes_into_a_folder_that_may_be_there(tmp_path: Path, profile, sft: Stage):
    """An image that has this package; NeMo-Run prepares an experiment twice."""
    names = ("base_url", "kube_apiserver_url", "client_id", "client_secret", "project_name", "container_image")
    lines = [f'{name} = "a"' for name in (*names, "pvc_nemo_run_dir")]
    placement = on(profile(*lines, executor="dgxcloud"), sft)
    assert not placement.carries_code
    for _ in range(2):
        write_package(tmp_path / "a/b", placement)
    assert sorted(path.name for path in (tmp_path / "a/b").iterdir()) == ["launch.sh", "tiny.yaml"]


@pytest.mark.parametrize(
    ("executor", "rank", "variables"),
    [
        ("skypilot", "SKYPILOT_NODE_RANK", ("NODE_RANK", "MASTER_PORT", "MASTER_ADDR")),
        ("skypilot_jobs", "SKYPILOT_NODE_RANK", ("NODE_RANK", "MASTER_PORT", "MASTER_ADDR")),
        ("lepton", "NODE_RANK", ("NODE_RANK",)),
        ("dgxcloud", "PET_NODE_RANK", ("NODE_RANK", "MASTER_ADDR", "MASTER_PORT")),
        ("kubeflow", "PET_NODE_RANK", ("NODE_RANK", "MASTER_ADDR", "MASTER_PORT")),
        ("slurm", "SLURM_NODEID", ()),
        ("local", "", ()),
    ],
)
def test_a_node_finds_its_rank_and_the_first_node_by_its_executors_variables(executor, rank, variables):
    lines = _rendezvous_lines(SimpleNamespace(profile=SimpleNamespace(executor=executor)))
    exported = [word.partition("=")[0] for line in lines for word in line.split() if "=" in word.partition("$")[0]]
    assert exported == list(variables)
    assert not variables or rank in "\n".join(lines)
