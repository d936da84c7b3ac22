"""Place a stage on a profile, once for the dry run and for submitting."""

import os
import re
import secrets as randomness
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from nemotron.errors import UserError
from nemotron.files.paths import expand_home
from nemotron.launch.profiles.profile import Profile
from nemotron.launch.secrets import collect_secrets
from nemotron.launch.stages import Stage

JOB_MOUNT = "/nemo_run"
"""Where a job's folder is mounted in its container. Without a container, NeMo-Run replaces it by the real folder."""

VERBOSE_VARIABLE = "NEMOTRON_VERBOSE"
"""If set, Megatron's own output is shown, here and in jobs."""
HANDED_ON_VARIABLES = (
    "HF_HOME",
    "HF_HUB_OFFLINE",
    "NEMOTRON_ARTIFACTS",
    "WANDB_ENTITY",
    "WANDB_MODE",
    "WANDB_PROJECT",
)
"""Variables that a job gets from the submitting environment, if both see the same files."""


@dataclass(frozen=True)
class Placement:
    """One stage, placed on a profile. Make it with `place`."""

    stage: Stage
    profile: Profile
    """The profile with its changes for this stage."""
    experiment: str
    """Name of the submission."""
    root: str
    """The folder of all jobs on the cluster."""
    partition: str | None
    nodes: int
    processes: int
    """Processes per node."""
    image: str | None
    """The container image as srun takes it; None means no container."""
    mounts: tuple[str, ...]
    """Mounts of the container; () without one."""
    workdir: str
    """The folder that relative paths of the config start from."""
    python: str
    """The interpreter."""
    variables: dict[str, str]
    """Environment variables of the job that are not secret."""
    secrets: dict[str, str] = field(repr=False)

    @property
    def ranks(self) -> int:
        """Processes over all nodes."""
        return self.nodes * self.processes

    @property
    def shares_files(self) -> bool:
        """Whether the job sees the same files as this machine, under the same paths."""
        return not self.profile.is_elsewhere and not self.image

    @property
    def carries_code(self) -> bool:
        """Whether the job's folder contains this code.

        Two of NeMo-Run's executors send the folder on a command line, which has no room for it.
        """
        return self.profile.executor not in ("lepton", "dgxcloud")

    @property
    def with_ray(self) -> bool:
        """Whether the job starts its own Ray cluster over its nodes.

        Without Slurm, Ray starts one itself.
        """
        return self.stage.ray and self.profile.executor == "slurm"

    @property
    def writes(self) -> dict[str, str]:
        """The absolute folders that the stage writes to, by the keys that name them."""
        if self.profile.is_elsewhere:  # ~ and links cannot be resolved from here
            return {key: os.path.normpath(os.path.join(self.workdir, path)) for key, path in self.stage.writes.items()}
        return {key: os.path.realpath(Path(self.workdir, expand_home(path))) for key, path in self.stage.writes.items()}

    @property
    def folder(self) -> str:
        """The folder of the job's code, config and logs; NeMo-Run groups them by title."""
        if self.profile.is_passed_on:
            return JOB_MOUNT
        title = "" if self.profile.is_here else self.experiment.partition("_")[0]
        return "/".join(filter(None, [self.root, title, self.experiment, self.stage.name]))

    @property
    def secrets_file(self) -> str:
        """The file with the stage's secrets, next to the folder that NeMo-Run creates."""
        title = self.experiment.partition("_")[0]
        return f"{self.root}/{title}/.{self.experiment}.{self.stage.name}.secrets"


def place(stages: Sequence[Stage], profile: Profile, *, attached: bool) -> tuple[Placement, ...]:
    """Place the stages of one submission on a profile.

    Args:
        stages: In order; each starts after the one before has succeeded.
        profile: What `load_profile` returned.
        attached: Whether the submitting process waits; this selects run_partition or batch_partition.

    Raises:
        UserError: The profile cannot take these stages, or names a secret that is not set.
    """
    if profile.is_here and not attached:
        raise UserError(
            f"Profile {profile.name} runs on this machine, which cannot take a detached job.",
            f'Use --run {profile.name}, or a profile with executor = "slurm".',
        )
    if profile.executor == "kubeflow" and not attached:
        raise UserError(
            f"NeMo-Run cannot detach from a kubeflow job, as profile {profile.name} asks.", f"Use --run {profile.name}."
        )
    if profile.is_passed_on and len(stages) > 1:
        _check_pipe(profile, attached)
    name, root = make_experiment_name(stages), find_jobs_root(profile)
    return tuple(_place(stage, profile.for_stage(stage.name), name, root, attached) for stage in stages)


def _place(stage: Stage, profile: Profile, name: str, root: str, attached: bool) -> Placement:
    image, folder = choose_image(stage, profile), find_workdir(profile)
    several = (stage.distributed and not profile.is_here) or (stage.ray and profile.executor == "slurm")
    return Placement(
        stage=stage,
        profile=profile,
        experiment=name,
        root=root,
        partition=(profile.run_partition if attached else profile.batch_partition) or profile.partition,
        nodes=profile.nodes if several else 1,
        processes=(stage.processes_per_node or profile.processes_per_node) if stage.distributed else 1,
        image=image,
        mounts=list_mounts(profile, folder) if image and not profile.is_passed_on else (),
        workdir=folder,
        python=choose_interpreter(profile, image),
        variables=_pass_on_variables(profile) | profile.env_vars | _verbosity(),
        secrets=collect_secrets(profile),
    )


def _check_pipe(profile: Profile, attached: bool) -> None:
    """Refuse two stages if the second could not start or would not find its data."""
    by_stage = "Submit --stage prep first, then --stage sft after it has succeeded"
    if not attached:
        raise UserError(
            f"Profile {profile.name} uses {profile.executor}, which cannot start training after data prep.",
            f"{by_stage}; or use --run, which waits.",
        )
    if not profile.workdir:
        raise UserError(
            f"Profile {profile.name} has no workdir, so training would not see the prepared data.",
            "Set workdir to a folder on storage that both jobs mount.",
        )


def _pass_on_variables(profile: Profile) -> dict[str, str]:
    """Return variables of this environment that a job needs: sbatch passes none."""
    if profile.executor == "local" or profile.is_elsewhere:
        return {}
    return {name: os.environ[name] for name in HANDED_ON_VARIABLES if name in os.environ}


def _verbosity() -> dict[str, str]:
    return {VERBOSE_VARIABLE: "1"} if os.environ.get(VERBOSE_VARIABLE) else {}


def make_experiment_name(stages: Sequence[Stage]) -> str:
    """Return a name for a submission, such as super3-prep-sft_20260131-120000-1f2e.

    NeMo-Run splits names at `_`.
    """
    title = "-".join(["super3", *(stage.name for stage in stages)])
    return f"{title}_{datetime.now():%Y%m%d-%H%M%S}-{randomness.token_hex(2)}"


def find_workdir(profile: Profile) -> str:
    """Return the folder in which stages start, so that relative paths stay valid."""
    if profile.workdir:
        return profile.workdir
    if profile.is_passed_on:
        return JOB_MOUNT
    return profile.remote_job_dir or "" if profile.tunnel == "ssh" else str(Path.cwd())


def find_jobs_root(profile: Profile) -> str:
    """Return the folder of all jobs on the cluster.

    Raises:
        UserError: NeMo-Run's unquoted commands could not use the folder.
    """
    if profile.is_passed_on:
        return JOB_MOUNT
    if profile.tunnel == "ssh":
        root = str(profile.remote_job_dir)
    else:
        root = str(Path(profile.remote_job_dir or "output").resolve() / "experiments")
    if not re.fullmatch(r"/[\w./+@=:,-]*", root) or f"{JOB_MOUNT}/" in f"{root}/":
        raise UserError(
            f"The folder for jobs, {root}, cannot be used: it must be an absolute path without spaces, and no folder "
            "in it may be called nemo_run.",
            f"Set remote_job_dir of profile {profile.name} to another folder that the cluster sees.",
        )
    return root


def list_mounts(profile: Profile, folder: str) -> tuple[str, ...]:
    """List the profile's mounts, plus the working folder if no mount covers it."""
    listed = profile.mounts
    if profile.is_here:
        listed = tuple(f"{Path(source).absolute()}:{rest}" for source, _, rest in map(_partition, listed))
    for mount in listed:
        source, target = mount.split(":")[:2]
        if source == target and Path(folder).is_relative_to(source):
            return listed
    return (*listed, f"{folder}:{folder}")


def _partition(mount: str) -> tuple[str, str, str]:
    return mount.partition(":")


def choose_image(stage: Stage, profile: Profile) -> str | None:
    """Return the stage's image: the profile's, else the config's, else None."""
    if profile.executor == "local":
        return None
    image = profile.container_image or stage.container
    if image in (None, "none"):
        if profile.executor == "docker":
            raise UserError(
                f"Profile {profile.name} runs stages with docker but has no image.",
                "Set container_image, such as nvcr.io/nvidia/nemo:TAG.",
            )
        return None
    if profile.executor == "docker" or profile.is_passed_on:
        return str(image).removeprefix("docker://")
    return pyxis_image(str(image), profile)


def pyxis_image(image: str, profile: Profile) -> str:
    """Return an image in the form of pyxis: `registry#name:tag`, or an absolute path.

    With a slash after the registry, enroot would ask Docker Hub for the image, and it would take a path that does not
    begin with a slash or a dot for a name.

    Raises:
        UserError: A .sqsh file does not exist, or its path is relative on another machine.
    """
    advice = f"Correct container_image of profile {profile.name}; enroot import docker://IMAGE makes a .sqsh file."
    if image.startswith((".", "/", "~")) or image.endswith(".sqsh"):
        if profile.tunnel == "ssh":
            if image.startswith("/"):
                return image
            raise UserError(f"The image {image} is a relative path, which does not work over ssh.", advice)
        path = Path(expand_home(image)).absolute()
        if not path.exists():
            raise UserError(f"The image {image} was not found: {path} does not exist.", advice)
        return str(path)
    name = image.removeprefix("docker://")
    registry, slash, rest = name.partition("/")
    is_host = bool(slash) and ("." in registry or ":" in registry or registry == "localhost")
    return f"{registry}#{rest}" if is_host and "#" not in name and "://" not in name else name


def choose_interpreter(profile: Profile, image: str | None) -> str:
    """Return the Python that runs the stage: this one if the job sees the same files."""
    if profile.python:
        return profile.python
    return "python" if profile.is_elsewhere or image else sys.executable
