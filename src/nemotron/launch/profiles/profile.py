"""Define a profile: where jobs run, and which resources they ask for."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from nemotron.launch.profiles.env_file import FILE_NAME

STAGES = ("prep", "sft")
"""Stages that may have their own table in a profile: `[NAME.prep]`, `[NAME.sft]`."""
PASSED_ON = ("skypilot", "skypilot_jobs", "lepton", "dgxcloud", "kubeflow")
"""NeMo-Run's executors that take their own fields from a profile."""


@dataclass(frozen=True)
class Profile:
    """One table of env.toml; its fields are the file's keys, up to the last five."""

    executor: Literal["slurm", "local", "docker", "skypilot", "skypilot_jobs", "lepton", "dgxcloud", "kubeflow"]
    """`slurm`; `local` or `docker` for this machine; or another of NeMo-Run's."""

    # What to ask Slurm for. None leaves the choice to the cluster.
    account: str | None = None
    """As in sbatch."""
    partition: str | None = None
    """As in sbatch."""
    run_partition: str | None = None
    """Partition for attached jobs (--run), if it is not `partition`."""
    batch_partition: str | None = None
    """Partition for detached jobs (--batch), if it is not `partition`."""
    nodes: int = 1
    """Nodes of a training job. Data prep uses one, with Ray all."""
    ntasks_per_node: int | None = None
    """Training processes per node. Default: `gpus_per_node`, or 1."""
    gpus_per_node: int | None = None
    """GPUs of each node."""
    cpus_per_task: int | None = None
    """Cores per training process. Default: the cluster's; use it or `exclusive`."""
    mem: str | None = None
    """Memory of a node, as in sbatch; `0` is all."""
    time: str | None = None
    """Time limit, as Slurm has it: minutes, `HH:MM:SS` or `D-HH:MM:SS`."""
    qos: str | None = None
    """As in sbatch."""
    constraint: str | None = None
    """As in sbatch."""
    exclude: str | None = None
    """As in sbatch."""
    gres: str | None = None
    """As in sbatch."""
    exclusive: bool | None = None
    """Use whole nodes. Default: the partition's; true for data prep without a number of cores."""
    additional_parameters: dict[str, str] = field(default_factory=dict)
    """Any other option of sbatch, with underscores in its name: `{ reservation = "sft" }`."""
    srun_args: tuple[str, ...] = ()
    """Further options for the srun that starts the stage, each in full: `["--cpu-bind=none"]`."""

    # What the job finds.
    container_image: str | None = None
    """Image: `registry/name:tag` or a .sqsh file. Default: the config's (`run.env.container`). "none": no container."""
    mounts: tuple[str, ...] = ()
    """`source:target[:options]` for the container."""
    workdir: str | None = None
    """Folder that relative paths of a config start from. Default: the current folder, or `remote_job_dir` over ssh."""
    python: str | None = None
    """Interpreter. Default: `python`; without a container and ssh, the one that is running now."""
    startup_commands: tuple[str, ...] = ()
    """Shell lines run once per node before the stage."""
    install: tuple[str, ...] = ()
    """Packages, or wheels (.whl) on the submitting machine, that pip installs into the job's folder."""
    env_vars: dict[str, str] = field(default_factory=dict)
    """Environment variables of the job. Any that is not known to be public is handed on as a secret."""
    secrets: tuple[str, ...] = ()
    """Names of further environment variables that are passed to the job as secrets."""

    # Options of docker, with executor = "docker".
    runtime: str | None = None
    """Of `docker run`."""
    ipc_mode: str | None = None
    """Default: "host", unless `shm_size` is given."""
    shm_size: str | None = None
    """Of `docker run`."""
    docker_args: tuple[str, ...] = ()
    """Further options of `docker run`, each in full: `["--user=1000:1000"]`."""

    # How to reach the cluster.
    tunnel: Literal["local", "ssh"] = "local"
    """`local`: sbatch runs on this machine. `ssh`: on `host`."""
    host: str | None = None
    """The cluster's login node, with `tunnel = "ssh"`."""
    user: str | None = None
    """The user there."""
    port: int | None = None
    """Port of its sshd; default 22."""
    identity: str | None = None
    """Private key file."""
    remote_job_dir: str | None = None
    """Folder for the scripts, code and logs of jobs. Default (not over ssh): `output` in the current folder."""

    # Not keys of the file.
    name: str = ""
    """The table's name."""
    source: Path = Path(FILE_NAME)
    """The file."""
    secret_env_vars: dict[str, str] = field(default_factory=dict, repr=False)
    """The variables of `env_vars` that may be secret: all that are not known to be public."""
    stage_overrides: dict[str, dict[str, Any]] = field(default_factory=dict, repr=False)
    """What `[NAME.prep]` and `[NAME.sft]` change."""
    options: dict[str, Any] = field(default_factory=dict, repr=False)
    """Fields that are passed on to NeMo-Run's executor."""

    def for_stage(self, stage: str) -> "Profile":
        """Apply the changes for `stage`; its env_vars are added to the profile's.

        Data prep runs on CPU cores: unless its table says otherwise, it gets no GPUs and all cores of a node.
        """
        changes: dict[str, Any] = dict(self.stage_overrides.get(stage, {}))
        if stage == "prep":
            of_gpus = {"gpus_per_node": None} | ({"gres": None} if "gpu" in (self.gres or "") else {})
            changes = of_gpus | changes
            cores = changes.get("cpus_per_task", self.cpus_per_task)
            if cores is None and changes.get("exclusive", self.exclusive) is None:
                changes["exclusive"] = True
        for key in ("env_vars", "secret_env_vars", "options"):
            changes[key] = getattr(self, key) | (changes.get(key) or {})
        return replace(self, **changes | _shape(self.options | changes["options"]))

    @property
    def is_passed_on(self) -> bool:
        """Whether the profile's fields are passed on to NeMo-Run's executor.

        NeMo-Run then follows the jobs itself.
        """
        return self.executor in PASSED_ON

    @property
    def is_here(self) -> bool:
        """Whether stages run on this machine while the command waits."""
        return self.executor in ("local", "docker")

    @property
    def is_elsewhere(self) -> bool:
        """Whether jobs have other files and another home than this machine."""
        return self.is_passed_on or self.tunnel == "ssh"

    @property
    def processes_per_node(self) -> int:
        """Number of training processes per node."""
        return self.ntasks_per_node or self.gpus_per_node or 1


def _shape(options: Mapping[str, Any]) -> dict[str, Any]:
    """Translate the executors' own names for the size of a job."""
    words = {
        "nodes": ("nodes", "num_nodes"),
        "ntasks_per_node": ("torchrun_nproc_per_node", "nprocs_per_node"),
        "gpus_per_node": ("gpus_per_node",),
        "container_image": ("container_image", "image"),
    }
    found = {key: next((options[name] for name in names if options.get(name)), None) for key, names in words.items()}
    return {key: value for key, value in found.items() if value is not None}
