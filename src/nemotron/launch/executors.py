"""Profiles as NeMo-Run executors, and the experiment that holds a submission's stages."""

import importlib
import os
import re
import secrets as randomness
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any

from nemotron.errors import UserError
from nemotron.launch.package import LAUNCH_SCRIPT, container_image, nodes
from nemotron.launch.profiles import Profile
from nemotron.launch.secrets import source_secrets
from nemotron.launch.stages import Stage
from nemotron.paths import expand_home

# Where a job's folder is mounted in its container; without one, NeMo-Run writes the real folder in its place.
_JOB = "/nemo_run"


def nemo_run() -> ModuleType:
    """The `nemo_run` module, imported late: it takes seconds. UserError when it cannot be imported."""
    try:
        return importlib.import_module("nemo_run")
    except ImportError as error:
        raise UserError(
            f"NeMo-Run, which submits jobs, cannot be imported: {error}.",
            "Install the locked versions with uv sync; NeMo-Run 0.11.1 needs leptonai below 0.47.",
        ) from error


def experiment_name(stages: Sequence[Stage]) -> str:
    """A new name, unique per submission: `super3-prep-sft_20260131-120000-1f2e`. NeMo-Run splits it at the `_`."""
    title = "-".join(["super3", *(stage.name for stage in stages)])
    return f"{title}_{datetime.now():%Y%m%d-%H%M%S}-{randomness.token_hex(2)}"


def workdir(profile: Profile) -> str:
    """The folder in which the stages start: relative paths of a config mean the same in a job as without one."""
    if profile.workdir:
        return profile.workdir
    return profile.remote_job_dir or "" if profile.tunnel == "ssh" else str(Path.cwd())


def jobs_root(profile: Profile) -> str:
    """The folder of all jobs on the cluster. UserError when NeMo-Run's unquoted commands could not use it."""
    if profile.tunnel == "ssh":
        root = str(profile.remote_job_dir)
    else:
        root = str(expand_home(profile.remote_job_dir or "output").resolve() / "experiments")
    if not re.fullmatch(r"/[\w./+@%=:,-]*", root) or f"{_JOB}/" in f"{root}/":
        raise UserError(
            f"The folder for jobs, {root}, cannot be used: it must be an absolute path without spaces, and no folder "
            "in it may be called nemo_run.",
            f"Set remote_job_dir of profile {profile.name} to another folder that the cluster sees.",
        )
    return root


def secrets_path(root: str, name: str, stage: Stage) -> str:
    """Where a stage's secrets lie: beside its experiment's folder, which NeMo-Run insists on creating itself."""
    return f"{root}/{name.partition('_')[0]}/.{name}.{stage.name}.secrets"


@contextmanager
def experiment(
    name: str, stages: Sequence[Stage], profile: Profile, packages: Path, staging: Path, *, attached: bool, secret: bool
) -> Iterator[Any]:
    """An entered NeMo-Run Experiment with one job per stage, each waiting for the success of the one before.

    `packages` holds a filled folder per stage. `staging` is where NeMo-Run writes its files on this machine: the
    jobs' own folder when sbatch runs here. `secret`: the jobs have secrets to read.
    """
    run = nemo_run()
    title = name.partition("_")[0]
    manager = run.Experiment(
        title,
        id=name,
        base_dir=str(staging),
        log_level="ERROR",
        clean_mode=True,
        enable_goodbye_message=False,
        skip_status_at_exit=True,
        serialize_metadata_for_scripts=False,
    )
    with _no_input(), manager as opened:
        earlier: list[str] = []
        for stage in stages:
            for_stage = profile.for_stage(stage.name)
            path = secrets_path(jobs_root(profile), name, stage) if secret else None
            executor = slurm_executor(stage, for_stage, packages / stage.name, path, attached=attached)
            script = run.Script(path=f"{_JOB}/code/{LAUNCH_SCRIPT}")
            earlier = [opened.add(script, executor=executor, name=stage.name, dependencies=earlier)]
        yield opened


@contextmanager
def _no_input() -> Iterator[None]:
    """An empty standard input: NeMo-Run's shell commands would use up what is piped to this process."""
    kept = sys.stdin
    with open(os.devnull, encoding="utf-8") as sys.stdin:
        try:
            yield
        finally:
            sys.stdin = kept


def slurm_executor(stage: Stage, profile: Profile, package: Path, secrets_file: str | None, *, attached: bool) -> Any:
    """The SlurmExecutor of one stage: one task per node, which starts torchrun for the processes.

    The profile's `ntasks_per_node` counts those processes; the CPUs it asks for are asked for that one task.
    """
    run = nemo_run()
    partition = profile.run_partition if attached else profile.batch_partition
    processes = profile.ntasks_per_node or 1
    image = container_image(stage, profile)
    options = {
        "account": profile.account,
        "partition": partition or profile.partition,
        "job_name_prefix": f"{profile.account or 'super3'}-nemotron.",
        "nodes": nodes(stage, profile),
        "ntasks_per_node": 1,
        "cpus_per_task": processes * (profile.cpus_per_task or 1) if profile.cpus_per_task or processes > 1 else None,
        "gpus_per_node": profile.gpus_per_node or None,
        "mem": profile.mem,
        "time": profile.time,  # None: the partition's limit. NeMo-Run's own default is ten minutes.
        "qos": profile.qos,
        "constraint": profile.constraint,
        "exclude": profile.exclude,
        "gres": profile.gres,
        "exclusive": profile.exclusive or None,
        "container_image": image,
        "container_mounts": mounts(profile) if image else [],
        # A job whose predecessor failed would otherwise wait in the queue for ever.
        "additional_parameters": {"kill_on_invalid_dep": "yes"} | profile.additional_parameters,
        "srun_args": list(profile.srun_args),
        "setup_lines": "\n".join(_setup_lines(secrets_file)),
        "tunnel": tunnel(profile),
        "packager": run.PatternPackager(include_pattern=str(package), relative_path=str(package)),
        "poll_estimated_start_time": False,
    }
    return run.SlurmExecutor(**options)


def tunnel(profile: Profile) -> Any:
    """The NeMo-Run tunnel that reaches the cluster's sbatch."""
    run = nemo_run()
    if profile.tunnel == "local":
        return run.LocalTunnel(job_dir=jobs_root(profile))
    identity = str(expand_home(profile.identity)) if profile.identity else None
    return run.SSHTunnel(
        job_dir=jobs_root(profile), host=profile.host, user=profile.user, port=profile.port, identity=identity
    )


def mounts(profile: Profile) -> list[str]:
    """The profile's mounts, and the working directory unless one of them already shows it under its own name."""
    folder = workdir(profile)
    for mount in profile.mounts:
        source, target = mount.split(":")[:2]
        if source == target and Path(folder).is_relative_to(source):
            return list(profile.mounts)
    return [*profile.mounts, f"{folder}:{folder}"]


def _setup_lines(secrets_file: str | None) -> list[str]:
    """Lines of the batch script, run on the first node: srun hands what they export to every node."""
    return [
        "export SLURM_EXPORT_ENV=ALL",  # it would not after an sbatch with --export=NONE, some clusters' default
        'export MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)',
        "export MASTER_PORT=$((20000 + SLURM_JOB_ID % 20000))",
        *(source_secrets(secrets_file) if secrets_file else []),
    ]
