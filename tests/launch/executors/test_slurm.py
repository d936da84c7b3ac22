"""What NeMo-Run is asked to submit to Slurm, with a stand-in for it; tests/launch/slurm has a real cluster."""

import contextlib
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.stand_ins import put_modules

from nemotron.launch import place
from nemotron.launch.executors import slurm
from nemotron.launch.executors.slurm import list_options, open_slurm_experiment, slurm_executor


class Executor:
    """NeMo-Run's SlurmExecutor: keeps what it is given."""

    def __init__(self, **options):
        self.options = options

    def parse_deps(self):
        return ["41;east", "42"]


@pytest.fixture
def nemo_run(monkeypatch):
    """The module; `added` has the jobs of an experiment, `title` and `options` how it was opened."""
    made = SimpleNamespace(added=[])

    class Experiment:
        def add(self, script, *, executor, name, dependencies):
            made.input = sys.stdin.read()
            made.deps = Executor().parse_deps()
            made.added.append((script, executor, name, [*dependencies]))
            return f"job {name}"

    @contextlib.contextmanager
    def open_experiment(title, **options):
        made.title, made.options = title, options
        yield Experiment()

    parts = {
        "Experiment": open_experiment,
        "SlurmExecutor": Executor,
        "Script": lambda path: path,
        "PatternPackager": lambda **options: options,
    }
    put_modules(monkeypatch, {"nemo_run": parts})
    monkeypatch.setattr(slurm, "make_tunnel", lambda placement: "tunnel")
    return made


LINES = (
    *('account = "acct"', 'partition = "batch"', "nodes = 2", "ntasks_per_node = 8", "gpus_per_node = 8"),
    *('time = "04:00:00"', 'qos = "high"', 'constraint = "h100"', 'exclude = "n1"', "exclusive = true", 'mem = "0"'),
    *("cpus_per_task = 4", 'srun_args = ["--mpi=none"]', 'additional_parameters = { reservation = "ours" }'),
)


@pytest.fixture
def placed(profile, sft):
    return lambda *lines: place([sft], profile(*lines), attached=False)[0]


def test_slurm_is_asked_for_one_task_a_node_with_all_its_cores(placed):
    assert list_options(placed(*LINES)) == {
        "account": "acct", "partition": "batch", "nodes": 2, "ntasks_per_node": 1, "cpus_per_task": 32,
        "gpus_per_node": 8, "mem": "0", "time": "04:00:00", "qos": "high", "constraint": "h100", "exclude": "n1",
        "gres": None, "exclusive": True,
    }  # fmt: skip
    plain = list_options(placed())
    assert {name for name, value in plain.items() if value is not None} == {"nodes", "ntasks_per_node"}
    assert list_options(placed("cpus_per_task = 4"))["cpus_per_task"] == 4
    assert list_options(placed("gpus_per_node = 0", "exclusive = false")) == plain


def test_a_stage_is_a_job_with_its_package_and_none_of_this_environment(nemo_run, placed):
    placement = placed(*LINES)
    options = slurm_executor(placement, Path("/packages/sft"), secret=False).options
    for name, value in list_options(placement).items():
        assert options.pop(name) == value
    setup, srun = options.pop("setup_lines"), options.pop("srun_args")
    assert placement.secrets_file not in setup
    assert srun == ["--mpi=none"]
    patient = replace(placement, stage=replace(placement.stage, ends_within=90))
    srun = slurm_executor(patient, Path("/packages/sft"), secret=False).options["srun_args"]
    assert srun == ["--wait=90", "--mpi=none"]
    assert options == {
        "job_name_prefix": "acct-nemotron.",
        "container_image": None,
        "container_mounts": list(placement.mounts),
        "container_env": None,
        "additional_parameters": {"kill_on_invalid_dep": "yes", "export": "NONE", "reservation": "ours"},
        "tunnel": "tunnel",
        "packager": {"include_pattern": "/packages/sft", "relative_path": "/packages/sft"},
        "poll_estimated_start_time": False,
    }


def test_secrets_of_a_job_are_read_from_its_file_and_win_over_those_of_its_image(nemo_run, placed, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "s3cret")
    placement = placed('container_image = "img"')
    options = slurm_executor(placement, Path("/packages/sft"), secret=True).options
    assert (options["container_image"], options["container_env"]) == (placement.image, ["HF_TOKEN"])
    assert placement.secrets_file in options["setup_lines"]
    assert "s3cret" not in str(options)
    assert options["job_name_prefix"] == "super3-nemotron."


def test_stages_are_jobs_of_one_experiment_each_after_the_one_before(nemo_run, profile, prep, sft, monkeypatch):
    placements = place([prep, sft], profile(), attached=False)
    stdin = sys.stdin
    with open_slurm_experiment(placements, Path("/packages"), Path("/staging")) as opened:
        assert hasattr(opened, "add")
    assert sys.stdin is stdin
    assert Executor().parse_deps() == ["41;east", "42"]
    assert nemo_run.title == placements[0].experiment.partition("_")[0]
    assert nemo_run.options == {
        "id": placements[0].experiment, "base_dir": "/staging", "log_level": "ERROR", "clean_mode": True,
        "enable_goodbye_message": False, "skip_status_at_exit": True, "serialize_metadata_for_scripts": False,
    }  # fmt: skip
    assert [(script, name, after) for script, _, name, after in nemo_run.added] == [
        ("/nemo_run/code/launch.sh", "prep", []),
        ("/nemo_run/code/launch.sh", "sft", ["job prep"]),
    ]
    packages = [executor.options["packager"]["include_pattern"] for _, executor, *_ in nemo_run.added]
    assert packages == ["/packages/prep", "/packages/sft"]
    # NeMo-Run's commands read nothing, and take a federation's `41;east` for one number.
    assert (nemo_run.input, nemo_run.deps) == ("", ["41", "42"])


@pytest.mark.parametrize(("secret", "expected"), [("HF_TOKEN", True), ("MINE", True), ("HOME_OF_MINE", False)])
def test_one_stage_with_a_secret_is_enough_for_all_to_read_theirs(
    nemo_run, profile, prep, sft, monkeypatch, secret, expected
):
    monkeypatch.setenv(secret, "s3cret")
    of_one = ["[here.sft]", 'secrets = ["MINE"]'] if secret == "MINE" else []
    placements = place([prep, sft], profile(*of_one), attached=False)
    with open_slurm_experiment(placements, Path("/packages"), Path("/staging")):
        pass
    for placement, (_, executor, *_) in zip(placements, nemo_run.added, strict=True):
        assert (placement.secrets_file in executor.options["setup_lines"]) is expected


def test_a_cluster_is_reached_from_here_or_through_ssh(placed, monkeypatch):
    tunnels = {"LocalTunnel": lambda **options: ("here", options), "SSHTunnel": lambda **options: ("ssh", options)}
    put_modules(monkeypatch, {"nemo_run": tunnels})
    here = placed()
    assert slurm.make_tunnel(here) == ("here", {"job_dir": here.root})
    lines = (
        'tunnel = "ssh"',
        'host = "h"',
        'user = "me"',
        'remote_job_dir = "/jobs"',
        "port = 22",
        'identity = "/key"',
    )
    far = placed(*lines)
    address = {"job_dir": far.root, "host": "h", "user": "me", "port": 22, "identity": "/key"}
    assert slurm.make_tunnel(far) == ("ssh", address)
