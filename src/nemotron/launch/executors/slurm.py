"""Make NeMo-Run's Slurm executors from profiles, and the experiment to submit."""

import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from nemotron.errors import UserError
from nemotron.launch.package import LAUNCH_SCRIPT
from nemotron.launch.placement import JOB_MOUNT, Placement
from nemotron.launch.secrets import source_secrets


def import_nemo_run() -> ModuleType:
    """Import `nemo_run` when it is needed, because that takes seconds.

    Raises:
        UserError: It cannot be imported.
    """
    try:
        return importlib.import_module("nemo_run")
    except ImportError as error:
        raise UserError(
            f"NeMo-Run, which submits jobs, cannot be imported: {error}.",
            "Run uv sync, or install nemotron[launch]; NeMo-Run 0.11.1 needs leptonai below 0.47.",
        ) from error


@contextmanager
def open_slurm_experiment(placements: Sequence[Placement], packages: Path, staging: Path) -> Iterator[Any]:
    """Enter a NeMo-Run Experiment: one job per stage, each after the one before.

    Args:
        placements: The stages, in order.
        packages: Folder with one filled folder per stage.
        staging: Where NeMo-Run writes its files on this machine: the jobs' own folder if sbatch runs here.
    """
    run = import_nemo_run()
    manager = run.Experiment(
        placements[0].experiment.partition("_")[0],
        id=placements[0].experiment,
        base_dir=str(staging),
        log_level="ERROR",
        clean_mode=True,
        enable_goodbye_message=False,
        skip_status_at_exit=True,
        serialize_metadata_for_scripts=False,
    )
    secret = any(placement.secrets for placement in placements)
    with block_input(), _federated_ids(run.SlurmExecutor), manager as opened:
        earlier: list[str] = []
        for placement in placements:
            name = placement.stage.name
            executor = slurm_executor(placement, packages / name, secret=secret)
            script = run.Script(path=f"{JOB_MOUNT}/code/{LAUNCH_SCRIPT}")
            earlier = [opened.add(script, executor=executor, name=name, dependencies=earlier)]
        yield opened


@contextmanager
def _federated_ids(executor: Any) -> Iterator[None]:
    """Let a job wait for one whose sbatch said `41;east`, as those of a federation do.

    NeMo-Run would put that into its next command, where the shell would run `east`.
    """
    parse = executor.parse_deps
    executor.parse_deps = lambda self: [found.partition(";")[0] for found in parse(self)]
    try:
        yield
    finally:
        executor.parse_deps = parse


@contextmanager
def block_input() -> Iterator[None]:
    """Make standard input empty, because NeMo-Run's shell commands would read it."""
    kept = sys.stdin
    with open(os.devnull, encoding="utf-8") as sys.stdin:
        try:
            yield
        finally:
            sys.stdin = kept


def slurm_executor(placement: Placement, package: Path, *, secret: bool) -> Any:
    """Make the SlurmExecutor of one stage: one task per node, which starts torchrun."""
    run, profile = import_nemo_run(), placement.profile
    return run.SlurmExecutor(
        **list_options(placement),
        job_name_prefix=f"{profile.account or 'super3'}-nemotron.",
        container_image=placement.image,
        container_mounts=list(placement.mounts),
        container_env=sorted(placement.secrets) if placement.image else None,  # or a variable of the image is in effect
        # A job whose predecessor failed would otherwise stay in the queue. sbatch would pass it the whole environment,
        # including secrets.
        additional_parameters={"kill_on_invalid_dep": "yes", "export": "NONE"} | profile.additional_parameters,
        srun_args=[*_wait_option(placement), *profile.srun_args],
        setup_lines="\n".join(_setup_lines(placement.secrets_file if secret else None)),
        tunnel=make_tunnel(placement),
        packager=run.PatternPackager(include_pattern=str(package), relative_path=str(package)),
        poll_estimated_start_time=False,
    )


def list_options(placement: Placement) -> dict[str, Any]:
    """List what a stage asks Slurm for, by NeMo-Run's names.

    None leaves the choice to the cluster. The profile's `ntasks_per_node` counts torchrun's processes, but Slurm sees
    one task per node, which gets all of the CPUs. A default number of CPUs would disable the cluster's DefCpuPerGPU.
    """
    profile = placement.profile
    return {
        "account": profile.account,
        "partition": placement.partition,
        "nodes": placement.nodes,
        "ntasks_per_node": 1,
        "cpus_per_task": profile.cpus_per_task and profile.cpus_per_task * (profile.ntasks_per_node or 1),
        "gpus_per_node": profile.gpus_per_node or None,
        "mem": profile.mem,
        "time": profile.time,  # None: the partition's limit. NeMo-Run's own default is ten minutes.
        "qos": profile.qos,
        "constraint": profile.constraint,
        "exclude": profile.exclude,
        "gres": profile.gres,
        "exclusive": profile.exclusive or None,
    }


def _wait_option(placement: Placement) -> list[str]:
    """Set how long srun waits for the other tasks when one has ended.

    NeMo-Run's default of 60 s would kill an export.
    """
    seconds = placement.stage.ends_within
    return [] if seconds is None else [f"--wait={seconds}"]


def make_tunnel(placement: Placement) -> Any:
    """Make the NeMo-Run tunnel to the machine with the cluster's sbatch."""
    run, profile = import_nemo_run(), placement.profile
    if profile.tunnel == "local":
        return run.LocalTunnel(job_dir=placement.root)
    return run.SSHTunnel(
        job_dir=placement.root, host=profile.host, user=profile.user, port=profile.port, identity=profile.identity
    )


def _setup_lines(secrets_file: str | None) -> list[str]:
    """Return lines of the batch script; srun passes what they export to every node."""
    return [
        "export SLURM_EXPORT_ENV=ALL",  # otherwise lost after an sbatch with --export=NONE
        # Since Slurm 22.05, srun no longer takes this from the job.
        '[ -z "${SLURM_CPUS_PER_TASK:-}" ] || export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK',
        'export MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)',
        "export MASTER_PORT=$((20000 + SLURM_JOB_ID % 20000))",
        *(source_secrets(secrets_file) if secrets_file else []),
    ]
