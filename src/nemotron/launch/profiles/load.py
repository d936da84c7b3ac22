"""Load profiles: the tables of `env.toml` that say where jobs run."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from nemotron.errors import did_you_mean
from nemotron.files.paths import expand_home
from nemotron.launch.profiles.checks import check_profile
from nemotron.launch.profiles.env_file import (
    FILE_NAME,
    FILE_VARIABLE,
    EnvFile,
    ProfileError,
    find_env_file,
    read_env_file,
)
from nemotron.launch.profiles.fields import check_required
from nemotron.launch.profiles.profile import Profile
from nemotron.launch.profiles.tables import SHARED, read_with_base


def load_profile(name: str, start: Path | None = None) -> Profile:
    """Load the profile `name` of the nearest env.toml.

    Raises:
        ProfileError: The file or the profile does not exist, or has a mistake.
    """
    path = find_env_file(start)
    if path is None:
        raise ProfileError(
            f"The profile {name} cannot be found: there is no {FILE_NAME} in this folder or above.",
            f"Copy env.toml.example to {FILE_NAME} and edit it, or set {FILE_VARIABLE} to the path of one.",
        )
    file = read_env_file(path)
    known = [table for table in file.tables if table not in SHARED]
    if name not in known:
        listed = f"Profiles in {path}: {', '.join(known)}." if known else f"{path} has no profile yet."
        raise ProfileError(f"There is no profile {name}.", " ".join(filter(None, [did_you_mean(name, known), listed])))
    return _read_profile(file, name)


def check_profiles(start: Path | None = None) -> dict[str, Profile | ProfileError]:
    """Read every profile of the nearest env.toml.

    Returns:
        Each profile, or the error in it, by name; {} without a file.
    """
    path = find_env_file(start)
    file = read_env_file(path) if path else None
    found: dict[str, Profile | ProfileError] = {}
    for name in [table for table in file.tables if table not in SHARED] if file else []:
        try:
            found[name] = load_profile(name, start)
        except ProfileError as error:
            found[name] = error
    return found


def read_shared_environment(start: Path | None = None) -> dict[str, str]:
    """Return the variables that `[wandb]` and `[artifacts]` of env.toml set.

    Returns:
        Values by the names that configs read; {} without an env.toml.
    """
    path = find_env_file(start)
    return _read_shared(read_env_file(path)) if path else {}


def _read_shared(file: EnvFile) -> dict[str, str]:
    environment = {}
    for table, variables in SHARED.items():
        if table in file.tables:
            file.refuse_unknown(table, variables)
            environment |= {variables[key]: file.read_as(str, key, table) for key in file.tables[table]}
    return environment


def _read_profile(file: EnvFile, name: str) -> Profile:
    values, overrides = read_with_base(file, name, ())
    if "executor" not in values:
        place = file.place("", name)
        raise ProfileError(f"{place}: [{name}] has no executor.", 'Add executor = "slurm", "local" or "docker".')
    values["env_vars"] = _read_shared(file) | values.get("env_vars", {})
    profile = Profile(name=name, source=file.path, stage_overrides=overrides, **values)
    overrides = {stage: _expand_paths(given, profile) for stage, given in overrides.items()}
    profile = replace(profile, stage_overrides=overrides, **_expand_paths(values, profile))
    if profile.is_passed_on:
        check_required(file, profile.executor, name, profile.options)
    check_profile(file, profile, name)
    for stage in overrides:
        check_profile(file, profile.for_stage(stage), f"{name}.{stage}")
    return profile


def _expand_paths(values: dict[str, Any], profile: Profile) -> dict[str, Any]:
    """Return the values of a table with `~` replaced in paths of this machine.

    These are the key, wheels, and where jobs of this machine find and leave files.
    """
    changed = dict(values)
    for key in ("identity", *(() if profile.is_elsewhere else ("remote_job_dir",))):
        if values.get(key):
            changed[key] = expand_home(values[key])
    if "install" in values:
        changed["install"] = tuple(expand_home(text) if text.endswith(".whl") else text for text in values["install"])
    if profile.is_here and "mounts" in values:
        changed["mounts"] = tuple(map(expand_home, values["mounts"]))
    return changed
