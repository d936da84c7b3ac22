"""`--run` and `--batch`. What a cluster gets is tested in launch; here, what the user sees and the exit codes."""

from types import SimpleNamespace

import pytest

import nemotron.launch
import nemotron.launch.jobs.records
from nemotron.cli.app import run
from nemotron.errors import UserError
from nemotron.launch import Job, JobState, Profile, Submission


@pytest.fixture(autouse=True)
def env_toml(tmp_path):
    (tmp_path / "env.toml").write_text(
        '[here]\nexecutor = "local"\n[cluster]\nexecutor = "slurm"\naccount = "a"\npartition = "p"\n'
    )


@pytest.fixture
def cluster(monkeypatch):
    """A cluster that accepts everything: what it was given, and the exit code its jobs will have."""
    seen = SimpleNamespace(stages=[], followed=False, exit_code=0, error=None, state=JobState("PENDING", "Resources"))

    def submit(placements):
        seen.stages = [placement.stage.name for placement in placements]
        jobs = tuple(Job(name, str(100 + n), f"/jobs/{name}") for n, name in enumerate(seen.stages))
        return Submission("sft_1", placements[0].profile, jobs, tunnel=object())

    def follow(submission, *, on_output, on_state):
        seen.followed = True
        if seen.error:
            raise seen.error
        on_state(submission.jobs[0], seen.state)
        on_output("iteration 1\n")
        return seen.exit_code

    monkeypatch.setattr(nemotron.launch, "submit", submit)
    monkeypatch.setattr(nemotron.launch, "follow", follow)
    return seen


@pytest.mark.parametrize("option", ["--run=cluster", "-rcluster"])
def test_run_submits_waits_and_streams(cluster, capsys, option):
    assert run(["super3", option, "sft", "-c", "tiny"]) == 0
    assert (cluster.stages, cluster.followed) == (["sft"], True)
    shown = capsys.readouterr()
    assert shown.out.endswith("iteration 1\n")
    assert "sft 100: pending (Resources)" in shown.err


def test_the_jobs_exit_code_is_the_commands(cluster):
    cluster.exit_code = 137
    assert run(["super3", "data", "prep", "sft", "-c", "tiny", "--run", "cluster"]) == 137


def test_batch_submits_names_the_jobs_and_returns(cluster, capsys):
    assert run(["super3", "pipe", "-c", "tiny", "-b", "cluster"]) == 0
    assert (cluster.stages, cluster.followed) == (["prep", "sft"], False)
    shown = capsys.readouterr().out
    for word in ("100", "101", "/jobs/sft/log-", "nemotron cancel sft_1"):
        assert word in shown


def test_a_missing_key_for_wandb_is_said_before_the_job_is_queued(cluster, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    for options in ([], ["--dry-run"]):
        assert run(["super3", "sft", "-c", "tiny", "--batch", "cluster", *options]) == 0
        shown = capsys.readouterr()
        assert "WANDB_API_KEY" in shown.err + shown.out
    assert cluster.stages == ["sft"]
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert run(["super3", "sft", "-c", "tiny", "--batch", "cluster", "--dry-run"]) == 0
    assert "W&B" not in capsys.readouterr().err


def test_ctrl_c_detaches_and_says_how_to_come_back(cluster, capsys):
    cluster.error = KeyboardInterrupt()
    assert run(["super3", "sft", "-c", "tiny", "--run", "cluster"]) == 130
    shown = capsys.readouterr().err
    assert "nemotron logs sft_1 --follow" in shown
    assert "nemotron cancel sft_1" in shown
    assert "nemotron super3 sft" not in shown


def test_ctrl_c_at_a_terminal_asks_and_cancels(cluster, capsys, monkeypatch):
    cancelled = []
    monkeypatch.setattr(nemotron.launch.jobs.records, "cancel", lambda record, jobs: (cancelled.extend(jobs), []))
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("builtins.input", lambda question: "c")
    cluster.error = KeyboardInterrupt()
    assert run(["super3", "sft", "-c", "tiny", "--run", "cluster"]) == 130
    assert [job.id for job in cancelled] == ["100"]


def test_a_job_that_waits_for_ever_is_said_with_what_to_change(cluster, capsys):
    cluster.state = JobState("PENDING", "PartitionNodeLimit")
    assert run(["super3", "sft", "-c", "tiny", "--run", "cluster"]) == 0
    assert "nodes" in capsys.readouterr().err.split("PartitionNodeLimit")[1]


def test_dry_run_shows_what_would_be_launched_and_launches_nothing(cluster, capsys, tmp_path):
    assert run(["super3", "sft", "-c", "tiny", "--run", "here", "--dry-run", "train.train_iters=7"]) == 0
    shown = capsys.readouterr().out
    assert ["train.train_iters", "7", "command", "line"] in [line.split() for line in shown.splitlines()]
    assert "train.py" in shown
    assert shown.endswith("This was a dry run: nothing was written or started.\n")
    assert not cluster.stages
    assert [path.name for path in tmp_path.iterdir()] == ["env.toml"]


def test_dry_run_counts_the_layout_on_the_profiles_ranks_when_the_data_is_in_reach(
    cluster, capsys, tmp_path, prepare_tiny
):
    with (tmp_path / "env.toml").open("a") as file:
        file.write('[two-nodes]\nexecutor = "slurm"\naccount = "a"\npartition = "p"\nnodes = 2\ngpus_per_node = 4\n')
    line = ["super3", "sft", "-c", "tiny", "--batch", "two-nodes", "--dry-run", "train.global_batch_size=8"]
    assert run(line) == 0
    assert '"SFTDataArtifact-sft"' in capsys.readouterr().out
    prepare_tiny()
    assert run([*line, "--compare"]) == 0
    shown = capsys.readouterr().out
    assert "8 of 8 ranks" in shown
    assert ["optimizer.lr", "1e-05", "5e-06"] in [line.split() for line in shown.splitlines()]


def test_an_unknown_profile_is_named_with_the_nearest(capsys):
    assert run(["super3", "sft", "-c", "tiny", "--run", "clutser"]) == 1
    assert 'Did you mean "cluster"?' in capsys.readouterr().err


PROFILES = """
[twenty-four]
executor = "slurm"
account = "a"
partition = "p"
nodes = 3
gpus_per_node = 8
[far]
executor = "slurm"
account = "a"
partition = "p"
tunnel = "ssh"
host = "far"
user = "me"
remote_job_dir = "/jobs"
"""


@pytest.mark.parametrize("how", ["--run", "--batch", "--dry-run"])
@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("train.global_batch_size=64", "train.global_batch_size=64"),
        ("train.micro_batch_size=2", "train.micro_batch_size"),
        ("peft={dim: 0}", "peft.dim"),
    ],
)
def test_what_the_config_alone_refuses_is_not_submitted(cluster, tmp_path, capsys, how, setting, named):
    (tmp_path / "env.toml").write_text(PROFILES)
    mode = ["--run", "twenty-four", how] if how == "--dry-run" else [how, "twenty-four"]
    ranks = ["run.nproc_per_node=auto", "train.global_batch_size=24"]
    assert run(["super3", "sft", "-c", "tiny", *mode, *ranks, setting]) == 1
    assert named in capsys.readouterr().err
    assert not cluster.stages


def test_what_the_data_refuses_is_not_submitted_where_it_can_be_read(cluster, tmp_path, capsys, prepare_tiny):
    (tmp_path / "env.toml").write_text(PROFILES)
    prepare_tiny()
    line = ["super3", "sft", "-c", "tiny", "train.global_batch_size=24"]
    for settings, named in (
        (["model.context_parallel_size=2", "train.global_batch_size=12"], "pad_to_multiple=4"),
        (["recipe.hf_model=nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-BF16"], "131,072"),
        (["train.global_batch_size=24000"], "train.global_batch_size is 24000"),
    ):
        assert run([*line, "--batch", "twenty-four", *settings]) == 1
        assert named in capsys.readouterr().err
        assert not cluster.stages
    assert run([*line, "--batch", "twenty-four"]) == 0
    assert cluster.stages == ["sft"]


def test_what_lies_here_is_not_taken_for_what_is_there(cluster, tmp_path, capsys, prepare_tiny):
    """Over ssh, relative paths and ~ are the cluster's: this machine's data says nothing about them."""
    (tmp_path / "env.toml").write_text(PROFILES)
    prepare_tiny()
    assert run(["super3", "sft", "-c", "tiny", "--batch", "far", "train.global_batch_size=24000"]) == 0
    assert cluster.stages == ["sft"]
    assert '"SFTDataArtifact-sft"' in capsys.readouterr().err
    assert run(["super3", "sft", "-c", "tiny", "--batch", "far", "run.model=ModelArtifact-pretrain"]) == 0
    assert '"ModelArtifact-pretrain"' in capsys.readouterr().err


def test_pipe_is_not_submitted_with_data_that_could_not_be_trained_on(cluster, tmp_path, capsys):
    (tmp_path / "env.toml").write_text(PROFILES)
    settings = ["run.nproc_per_node=auto", "model.context_parallel_size=2", "train.global_batch_size=12"]
    line = ["super3", "pipe", "-c", "tiny", "-b", "twenty-four", *settings]
    assert run(line) == 1
    assert "pad_to_multiple=4" in capsys.readouterr().err
    assert not cluster.stages
    assert run([*line, "pad_to_multiple=4"]) == 0


@pytest.mark.parametrize(("stage", "submitted"), [("prep", ["prep"]), ("sft", ["sft"])])
def test_pipe_may_run_one_stage_with_the_keys_of_both(cluster, stage, submitted):
    line = ["super3", "pipe", "-c", "tiny", "-b", "cluster", "--stage", stage, "pack_size=2048", "train.train_iters=3"]
    assert run(line) == 0
    assert cluster.stages == submitted


def test_a_stage_that_is_none_is_refused(cluster, capsys):
    assert run(["super3", "pipe", "-c", "tiny", "-b", "cluster", "--stage", "pret"]) == 2
    assert 'Did you mean "prep"?' in capsys.readouterr().err


def test_a_folder_in_which_a_job_works_takes_no_second_run(cluster, monkeypatch, tmp_path, capsys):
    """The first submission is recorded and still runs: the second is refused, on the cluster and here."""
    monkeypatch.setattr(nemotron.launch.jobs.records, "ask_state", lambda shell, job: JobState("RUNNING"))
    folder = str(tmp_path / "output/tiny/sft")
    submission = Submission("sft_0", Profile("slurm"), (Job("sft", "99", "/jobs", writes=(folder,)),), object())
    nemotron.launch.jobs.records.keep(submission)
    for line in (["--run", "cluster"], ["--batch", "cluster"], [], ["--dry-run"], ["--run", "cluster", "--dry-run"]):
        assert run(["super3", "sft", "-c", "tiny", *line]) == 1
        assert "Job 99 (sft, running)" in capsys.readouterr().err
    assert not cluster.stages
    assert run(["super3", "sft", "-c", "tiny", "--batch", "cluster", "run.output_dir=elsewhere"]) == 0


@pytest.mark.parametrize("error", [KeyboardInterrupt(), UserError("refused")])
def test_a_submission_that_comes_to_nothing_leaves_no_record(cluster, monkeypatch, capsys, error):
    def submit(placements):
        assert [record.jobs[0].state for record in nemotron.launch.jobs.records.read_records()] == ["SUBMITTING"]
        raise error

    monkeypatch.setattr(nemotron.launch, "submit", submit)
    assert run(["super3", "sft", "-c", "tiny", "--batch", "cluster"]) == (130 if error.args == () else 1)
    assert nemotron.launch.jobs.records.read_records() == []
    assert "continues where" not in capsys.readouterr().err
