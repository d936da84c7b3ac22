"""Read a table of env.toml, with the profile it extends and its stage tables."""

import re
from collections.abc import Mapping
from typing import Any, get_origin, get_type_hints

from nemotron.config import holds_secret, is_secret
from nemotron.errors import did_you_mean
from nemotron.launch.profiles.env_file import EnvFile, ProfileError
from nemotron.launch.profiles.fields import check_fields, executor_fields
from nemotron.launch.profiles.profile import PASSED_ON, STAGES, Profile
from nemotron.secrets import remember_secrets

SHARED = {
    "wandb": {"project": "WANDB_PROJECT", "entity": "WANDB_ENTITY"},
    "artifacts": {"root": "NEMOTRON_ARTIFACTS"},
}
"""Tables that are not profiles; their keys become these environment variables."""
_NOT_KEYS = ("name", "source", "secret_env_vars", "stage_overrides", "options")
KEYS: dict[str, Any] = {key: kind for key, kind in get_type_hints(Profile).items() if key not in _NOT_KEYS}
_ABOUT_KEYS = ("extends", "append")
# All stages of one submission go to one cluster.
_PROFILE_ONLY = ("executor", "tunnel", "host", "user", "port", "identity", "remote_job_dir")
_OF_DOCKER = ("runtime", "ipc_mode", "shm_size", "docker_args")
_OF_EVERY_JOB = ("executor", "workdir", "python", "startup_commands", "install", "env_vars", "secrets")


def read_with_base(
    file: EnvFile, name: str, below: tuple[str, ...]
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Read a table on top of the profile it extends, and its changes per stage."""
    stages = [stage for stage in STAGES if isinstance(file.tables[name].get(stage), dict)]
    executor = _executor(file, name, below)
    file.refuse_unknown(name, [*_keys_of(executor), *_ABOUT_KEYS, *STAGES])
    values: dict[str, Any] = {}
    overrides: dict[str, dict[str, Any]] = {}
    if "extends" in file.tables[name]:
        values, overrides = read_with_base(file, _base(file, name, below), (*below, name))
    values = _over(values, _read_keys(file, name, executor))
    _append(file, name, _keys_of(executor), values, values)
    for stage in stages:
        table = f"{name}.{stage}"
        file.refuse_unknown(table, [*(key for key in _keys_of(executor) if key not in _PROFILE_ONLY), "append"])
        overrides[stage] = _over(overrides.get(stage, {}), _read_keys(file, table, executor))
        _append(file, table, _keys_of(executor), overrides[stage], values)
    return values, overrides


def _executor(file: EnvFile, name: str, below: tuple[str, ...]) -> str:
    """Find the executor of a table.

    It is the table's own, that of the table around it, or that of the profile it extends.
    """
    if "executor" in file.tables[name]:
        return file.read_as(KEYS["executor"], "executor", name)
    if "extends" in file.tables[name]:
        return _executor(file, _base(file, name, below), (*below, name))
    return "slurm"


def _keys_of(executor: str) -> dict[str, Any]:
    """Map the keys of a profile with this executor to their types.

    Keys of NeMo-Run's executors have no type here.
    """
    if executor in PASSED_ON:
        ours = {key: KEYS[key] for key in _OF_EVERY_JOB}
        return ours | {key: None for key in executor_fields(executor) if key not in ours}
    return {key: kind for key, kind in KEYS.items() if executor == "docker" or key not in _OF_DOCKER}


def _base(file: EnvFile, name: str, below: tuple[str, ...]) -> str:
    """Find the profile that `name` extends."""
    base, known = file.read_as(str, "extends", name), [table for table in file.tables if table not in SHARED]
    place = file.place("extends", name)
    if base in (*below, name):
        raise ProfileError(f"{place}: [{name}] extends itself, through {base}.", "Remove one of the extends.")
    if base not in known:
        hint = did_you_mean(base, known) or f"Profiles: {', '.join(known)}."
        raise ProfileError(f"{place}: there is no profile {base} to extend.", hint)
    return base


def _over(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Merge a table over another: inner tables are merged, other values replaced."""
    named = {*own.get("env_vars", {}), *own.get("secret_env_vars", {})}
    merged = base | own
    for key, kept in base.items():
        if isinstance(kept, dict):
            left = {name: value for name, value in kept.items() if "env_vars" not in key or name not in named}
            merged[key] = left | own.get(key, {})
    return merged


def _append(file: EnvFile, table: str, keys: Mapping[str, Any], values: dict[str, Any], base: dict[str, Any]) -> None:
    """Extend the lists of `values`, or else those of `base`, by what `append` lists."""
    listed = file.table(table).get("append", {})
    place = file.place("append", table)
    lists = [key for key, kind in keys.items() if get_origin(kind) is tuple]
    if not isinstance(listed, dict):
        raise ProfileError(
            f"{place}: append should be a table.", 'Write append = { mounts = ["/data:/data"] }, for example.'
        )
    for key, more in listed.items():
        if key not in lists:
            raise ProfileError(
                f"{place}: {key} is not a list.", did_you_mean(key, lists) or f"Lists: {', '.join(lists)}."
            )
        if not (isinstance(more, list) and all(isinstance(text, str) for text in more)):
            raise ProfileError(f"{place}: append.{key} should be a list of texts in brackets.")
        values[key] = (*values.get(key, base.get(key, ())), *more)


def _read_keys(file: EnvFile, table: str, executor: str) -> dict[str, Any]:
    keys = _keys_of(executor)
    given = [key for key in file.table(table) if key in keys]
    values = {key: file.read_as(keys[key], key, table) for key in given if keys[key] is not None}
    if executor in PASSED_ON:
        check_fields(file, executor, table)
        values["options"] = {key: file.table(table)[key] for key in given if keys[key] is None}
    if variables := values.get("env_vars"):
        for variable in variables:
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", variable):
                place = file.place("env_vars", table)
                raise ProfileError(f"{place}: {variable} is not a valid name of an environment variable.", "Rename it.")
        # The executors of others have no place for secrets, so only what surely is one is refused there.
        section = "" if executor in PASSED_ON else "env_vars."
        secret = {key: value for key, value in variables.items() if is_secret(section + key) or holds_secret(value)}
        remember_secrets(secret, "env_vars")
        values["secret_env_vars"] = secret
        values["env_vars"] = {key: value for key, value in variables.items() if key not in secret}
    return values
