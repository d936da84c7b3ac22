"""Run `nemotron profiles`: list the profiles for --run and --batch."""

from typing import TYPE_CHECKING

import typer

from nemotron.cli import console

if TYPE_CHECKING:
    from nemotron.launch import Profile


def profiles() -> None:
    """List the profiles of env.toml, and check each.

    The exit code is 1 if one cannot be used.
    """
    from nemotron.launch import ProfileError, find_env_file
    from nemotron.launch.profiles.load import check_profiles

    path, found = find_env_file(), check_profiles()
    if path is None:
        console.out("There is no env.toml in this folder or above. Copy env.toml.example to env.toml and edit it.")
        return
    good = {name: profile for name, profile in found.items() if not isinstance(profile, ProfileError)}
    console.heading(f"Profiles of {path}")
    header = ("profile", "executor", "submits", "partition", "nodes", "processes", "container")
    if good:
        console.table([(name, *_row(profile)) for name, profile in good.items()], header=header)
    problems = [error for error in found.values() if isinstance(error, ProfileError)]
    for problem in problems:
        console.error(problem)
    if problems:
        raise typer.Exit(1)


def _row(profile: "Profile") -> tuple[str, ...]:
    where = f"{profile.user}@{profile.host}" if profile.tunnel == "ssh" else "here"
    image = profile.container_image or "the config's"
    sft = profile.for_stage("sft")
    return (profile.executor, where, sft.partition or "", str(sft.nodes), str(sft.processes_per_node), image)
