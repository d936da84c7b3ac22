"""Show what a submission would launch, stage by stage, without submitting."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from nemotron.launch.executors.docker import docker_command
from nemotron.launch.executors.passed_on import describe_request, mask_options
from nemotron.launch.executors.slurm import list_options
from nemotron.launch.package import launch_line, launch_script
from nemotron.launch.placement import Placement
from nemotron.launch.submit import batch_scripts


@dataclass(frozen=True)
class Preview:
    """One stage as it would be launched."""

    placement: Placement
    command: str
    """The command that each node ends up running."""
    launch_script: str
    """The script around that command, run once per node."""
    batch_script: str | None
    """The script for sbatch; None if the profile is local or the script was not requested."""

    @property
    def options(self) -> list[tuple[str, str]]:
        """The options for Slurm, docker or another executor; [] on this machine."""
        placement = self.placement
        if placement.profile.executor == "docker":
            return [("docker", shlex.join(docker_command(placement)))]
        if placement.profile.is_passed_on:
            return [(placement.profile.executor, f"{key} = {value}") for key, value in mask_options(placement).items()]
        if placement.profile.executor == "local":
            return []
        asked = list_options(placement)
        return [("sbatch", f"--{name.replace('_', '-')}={value}") for name, value in asked.items() if value is not None]

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables of the job, with secrets as `***`."""
        return self.placement.variables | dict.fromkeys(self.placement.secrets, "***")


def preview(placements: Sequence[Placement], *, script: bool = True) -> list[Preview]:
    """Show what `submit` with the same placements would launch.

    Args:
        placements: What `place` returned.
        script: Whether to include the sbatch script; NeMo-Run, which writes it, takes seconds to import.
    """
    scripts = batch_scripts(placements) if script else {}
    if script and placements[0].profile.is_passed_on:
        scripts = {placement.stage.name: describe_request(placement) for placement in placements}
    return [
        Preview(placement, launch_line(placement), launch_script(placement), scripts.get(placement.stage.name))
        for placement in placements
    ]
