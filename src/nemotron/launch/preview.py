"""Show what a submission would launch, stage by stage, without submitting."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from nemotron.launch.executors.docker import docker_command
from nemotron.launch.executors.passed_on import describe_request, shown_options
from nemotron.launch.executors.slurm import slurm_options
from nemotron.launch.package import launch_line, launch_script
from nemotron.launch.placement import Placement
from nemotron.launch.submit import batch_scripts


@dataclass(frozen=True)
class Preview:
    """One stage, as it would be launched."""

    placement: Placement
    command: str
    """The launch line: what each node ends up running."""
    launch_script: str
    """The script around it, run once per node."""
    batch_script: str | None
    """What sbatch gets; None for a profile of this machine, or when it was not asked for."""

    @property
    def options(self) -> list[tuple[str, str]]:
        """What Slurm, docker or another executor is asked for; [] on this machine."""
        placement = self.placement
        if placement.profile.executor == "docker":
            return [("docker", shlex.join(docker_command(placement)))]
        if placement.profile.is_passed_on:
            return [(placement.profile.executor, f"{key} = {value}") for key, value in shown_options(placement).items()]
        if placement.profile.executor == "local":
            return []
        asked = slurm_options(placement)
        return [("sbatch", f"--{name.replace('_', '-')}={value}") for name, value in asked.items() if value is not None]

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables the job gets, secrets shown as `***`."""
        return self.placement.variables | dict.fromkeys(self.placement.secrets, "***")


def preview(placements: Sequence[Placement], *, script: bool = True) -> list[Preview]:
    """Show what `submit` with the same placements would launch.

    Args:
        placements: As `place` returns them.
        script: Whether to have NeMo-Run write the sbatch script, which takes seconds to import.
    """
    scripts = batch_scripts(placements) if script else {}
    if script and placements[0].profile.is_passed_on:
        scripts = {placement.stage.name: describe_request(placement) for placement in placements}
    return [
        Preview(placement, launch_line(placement), launch_script(placement), scripts.get(placement.stage.name))
        for placement in placements
    ]
