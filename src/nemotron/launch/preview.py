"""The dry run of a submission: the very script that would go to sbatch, and what surrounds it. Submits nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from nemotron.launch.executors import experiment, experiment_name, jobs_root, mounts, workdir
from nemotron.launch.package import container_image, launch_line, launch_script
from nemotron.launch.profiles import Profile
from nemotron.launch.secrets import collect_secrets
from nemotron.launch.stages import Stage
from nemotron.launch.submit import write_packages


@dataclass(frozen=True)
class Preview:
    """One stage, as it would be launched."""

    stage: str
    command: str
    """The launch line: what each node ends up running."""
    launch_script: str
    """The script around it, run once per node."""
    batch_script: str | None
    """What sbatch gets; None for a profile of this machine."""
    container: str | None
    mounts: tuple[str, ...]
    """Mounts of the container; () without one."""
    variables: dict[str, str]
    """Environment variables the job gets, secrets shown as `***`."""
    workdir: str
    """Where relative paths of the config start."""
    folder: str
    """Where code, config, scripts and logs of the job go."""


def preview(stages: Sequence[Stage], profile: Profile, *, attached: bool) -> list[Preview]:
    """What `submit` with the same arguments would launch, stage by stage. Raises what it would raise before sbatch."""
    name = experiment_name(stages)
    root = jobs_root(profile)
    scripts = _batch_scripts(name, stages, profile, attached) if profile.executor == "slurm" else {}
    folder = f"{root}/{_subfolder(name, profile)}"
    return [_preview(stage, profile, scripts.get(stage.name), folder) for stage in stages]


def _preview(stage: Stage, profile: Profile, batch_script: str | None, folder: str) -> Preview:
    profile = profile.for_stage(stage.name)
    image = container_image(stage, profile)
    return Preview(
        stage=stage.name,
        command=launch_line(stage, profile),
        launch_script=launch_script(stage, profile, workdir(profile)),
        batch_script=batch_script,
        container=image,
        mounts=tuple(mounts(profile)) if image else (),
        variables=profile.env_vars | dict.fromkeys(collect_secrets(profile), "***"),
        workdir=workdir(profile),
        folder=f"{folder}/{stage.name}",
    )


def _batch_scripts(name: str, stages: Sequence[Stage], profile: Profile, attached: bool) -> dict[str, str]:
    """The text of each stage's sbatch script. NeMo-Run writes it while it packages, here into a temporary folder."""
    secret = any(collect_secrets(profile.for_stage(stage.name)) for stage in stages)
    with TemporaryDirectory() as temporary:
        packages = Path(temporary, "packages")
        write_packages(packages, stages, profile)
        with experiment(name, stages, profile, packages, Path(temporary), attached=attached, secret=secret) as opened:
            opened.dryrun(log=False, delete_exp_dir=False)
            written = {job.id: Path(job.executor.experiment_dir, f"{job.id}_sbatch.sh") for job in opened.jobs}
            return {stage: path.read_text(encoding="utf-8") for stage, path in written.items()}


def _subfolder(name: str, profile: Profile) -> str:
    """An experiment's folder below the root: NeMo-Run groups experiments by title."""
    return name if profile.executor == "local" else f"{name.partition('_')[0]}/{name}"
