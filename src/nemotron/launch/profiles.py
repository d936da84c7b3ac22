"""Load profiles: the tables of `env.toml` that say where jobs run."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_origin, get_type_hints

from nemotron.config import holds_secret, is_secret
from nemotron.errors import did_you_mean
from nemotron.launch.env_file import FILE_NAME, FILE_VARIABLE, EnvFile, ProfileError, find_env_file, read_env_file
from nemotron.launch.profile_checks import check_profile

STAGES = ("prep", "sft")
"""Stages that a profile may treat differently, each in a table of its own: `[NAME.prep]`, `[NAME.sft]`."""

# Tables that are not profiles, and the environment variables that their keys become.
_SHARED = {
    "wandb": {"project": "WANDB_PROJECT", "entity": "WANDB_ENTITY"},
    "artifacts": {"root": "NEMOTRON_ARTIFACTS"},
}


@dataclass(frozen=True)
class Profile:
    """One table of env.toml; its fields are the file's keys, up to the last four."""

    executor: Literal["slurm", "local"]

    # What to ask Slurm for. None leaves the choice to the cluster.
    account: str | None = None
    partition: str | None = None
    run_partition: str | None = None
    """Partition of attached jobs (--run), where it is not `partition`."""
    batch_partition: str | None = None
    """Partition of detached jobs (--batch), where it is not `partition`."""
    nodes: int = 1
    ntasks_per_node: int | None = None
    """Training processes per node. Default: `gpus_per_node`, or 1."""
    gpus_per_node: int | None = None
    cpus_per_task: int | None = None
    mem: str | None = None
    time: str | None = None
    qos: str | None = None
    constraint: str | None = None
    exclude: str | None = None
    gres: str | None = None
    exclusive: bool | None = None
    """Whole nodes. Default: the partition's; for data prep that names no cores, true."""
    additional_parameters: dict[str, str] = field(default_factory=dict)
    """Any other option of sbatch, its name with underscores: `{ reservation = "sft" }`."""
    srun_args: tuple[str, ...] = ()
    """Further options of the srun that starts the stage, each complete: `["--cpu-bind=none"]`."""

    # What the job finds.
    container_image: str | None = None
    """Image, as `registry/name:tag` or a .sqsh file. None: the config's (`run.env.container`). "none": no container."""
    mounts: tuple[str, ...] = ()
    """`source:target[:options]` for the container."""
    workdir: str | None = None
    """Folder that relative paths of a config start from. Default: the current one, or `remote_job_dir` over ssh."""
    python: str | None = None
    """Interpreter. Default: `python`; without container and ssh, the one that is running now."""
    startup_commands: tuple[str, ...] = ()
    """Shell lines run once per node before the stage."""
    install: tuple[str, ...] = ()
    """Packages that pip installs into the job's own folder, or wheels (.whl) of the submitting side."""
    env_vars: dict[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    """Names of further variables of the submitting environment that the job gets as secrets."""

    # How to reach the cluster.
    tunnel: Literal["local", "ssh"] = "local"
    """`local`: sbatch runs on this machine. `ssh`: on `host`."""
    host: str | None = None
    user: str | None = None
    port: int | None = None
    identity: str | None = None
    """Private key file."""
    remote_job_dir: str | None = None
    """Folder for the scripts, code and logs of jobs. Default, without ssh: `output` in the current folder."""

    # Not keys of the file.
    name: str = ""
    """The table's name."""
    source: Path = Path(FILE_NAME)
    """The file."""
    secret_env_vars: dict[str, str] = field(default_factory=dict, repr=False)
    """Those of `env_vars` whose names say that they are secret."""
    stage_overrides: dict[str, dict[str, Any]] = field(default_factory=dict, repr=False)
    """What `[NAME.prep]` and `[NAME.sft]` change."""

    def for_stage(self, stage: str) -> "Profile":
        """Apply the table's changes for `stage`; its env_vars are added to the profile's.

        Data prep computes on cores: unless its table says otherwise it gets no GPUs, and a node's cores.
        """
        changes = dict(self.stage_overrides.get(stage, {}))
        if stage == "prep":
            of_gpus = {"gpus_per_node": None} | ({"gres": None} if "gpu" in (self.gres or "") else {})
            changes = of_gpus | changes
            cores = changes.get("cpus_per_task", self.cpus_per_task)
            if cores is None and changes.get("exclusive", self.exclusive) is None:
                changes["exclusive"] = True
        for key in ("env_vars", "secret_env_vars"):
            changes[key] = getattr(self, key) | changes.get(key, {})
        return replace(self, **changes)

    @property
    def processes_per_node(self) -> int:
        """Training processes on each node."""
        return self.ntasks_per_node or self.gpus_per_node or 1


_NOT_KEYS = ("name", "source", "secret_env_vars", "stage_overrides")
_KEYS: dict[str, Any] = {key: kind for key, kind in get_type_hints(Profile).items() if key not in _NOT_KEYS}
_ABOUT_KEYS = ("extends", "append")
# All stages of one submission go to one cluster.
_PROFILE_ONLY = ("executor", "tunnel", "host", "user", "port", "identity", "remote_job_dir")


def load_profile(name: str, start: Path | None = None) -> Profile:
    """Load the profile `name` of the nearest env.toml.

    Raises:
        ProfileError: File or profile is missing, or has a mistake.
    """
    path = find_env_file(start)
    if path is None:
        raise ProfileError(
            f"The profile {name} is looked up in {FILE_NAME}, and there is none here or in a folder above.",
            f"Copy env.toml.example to {FILE_NAME} and edit it, or set {FILE_VARIABLE} to the path of one.",
        )
    file = read_env_file(path)
    known = [table for table in file.tables if table not in _SHARED]
    if name not in known:
        listed = f"Profiles in {path}: {', '.join(known)}." if known else f"{path} has no profile yet."
        raise ProfileError(f"There is no profile {name}.", " ".join(filter(None, [did_you_mean(name, known), listed])))
    return _read_profile(file, name)


def check_profiles(start: Path | None = None) -> dict[str, Profile | ProfileError]:
    """Read every profile of the nearest env.toml: the profile, or its mistake.

    Returns:
        By name; {} without a file.
    """
    path = find_env_file(start)
    file = read_env_file(path) if path else None
    found: dict[str, Profile | ProfileError] = {}
    for name in [table for table in file.tables if table not in _SHARED] if file else []:
        try:
            found[name] = load_profile(name, start)
        except ProfileError as error:
            found[name] = error
    return found


def shared_environment(start: Path | None = None) -> dict[str, str]:
    """List the variables that `[wandb]` and `[artifacts]` of env.toml set.

    Returns:
        By the names that configs read; {} without an env.toml.
    """
    path = find_env_file(start)
    return _read_shared(read_env_file(path)) if path else {}


def _read_shared(file: EnvFile) -> dict[str, str]:
    environment = {}
    for table, variables in _SHARED.items():
        if table in file.tables:
            file.refuse_unknown(table, variables)
            environment |= {variables[key]: file.typed(str, key, table) for key in file.tables[table]}
    return environment


def _read_profile(file: EnvFile, name: str) -> Profile:
    values, overrides = _read_with_base(file, name, ())
    if "executor" not in values:
        place = file.place("", name)
        raise ProfileError(f"{place}: [{name}] does not say its executor.", 'Add executor = "slurm", or "local".')
    values["env_vars"] = _read_shared(file) | values.get("env_vars", {})
    profile = Profile(name=name, source=file.path, stage_overrides=overrides, **values)
    check_profile(file, profile, name)
    for stage in overrides:
        check_profile(file, profile.for_stage(stage), f"{name}.{stage}")
    return profile


def _read_with_base(
    file: EnvFile, name: str, below: tuple[str, ...]
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Read a table over the profile it extends, and its changes for each stage."""
    stages = [stage for stage in STAGES if isinstance(file.tables[name].get(stage), dict)]
    file.refuse_unknown(name, [*_KEYS, *_ABOUT_KEYS, *STAGES])
    values: dict[str, Any] = {}
    overrides: dict[str, dict[str, Any]] = {}
    if "extends" in file.tables[name]:
        values, overrides = _read_with_base(file, _base(file, name, below), (*below, name))
    values = _over(values, _read_keys(file, name, skip=stages))
    _append(file, name, values, values)
    for stage in stages:
        table = f"{name}.{stage}"
        file.refuse_unknown(table, [*(key for key in _KEYS if key not in _PROFILE_ONLY), "append"])
        overrides[stage] = _over(overrides.get(stage, {}), _read_keys(file, table))
        _append(file, table, overrides[stage], values)
    return values, overrides


def _base(file: EnvFile, name: str, below: tuple[str, ...]) -> str:
    """Find the profile that `name` extends."""
    base, known = file.typed(str, "extends", name), [table for table in file.tables if table not in _SHARED]
    place = file.place("extends", name)
    if base in (*below, name):
        raise ProfileError(f"{place}: [{name}] extends itself, by way of {base}.", "Take one extends out.")
    if base not in known:
        hint = did_you_mean(base, known) or f"Profiles: {', '.join(known)}."
        raise ProfileError(f"{place}: there is no profile {base} to extend.", hint)
    return base


def _over(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Put a table over another: tables are merged, everything else is replaced."""
    named = {*own.get("env_vars", {}), *own.get("secret_env_vars", {})}
    merged = base | own
    for key, kept in base.items():
        if isinstance(kept, dict):
            left = {name: value for name, value in kept.items() if "env_vars" not in key or name not in named}
            merged[key] = left | own.get(key, {})
    return merged


def _append(file: EnvFile, table: str, values: dict[str, Any], base: dict[str, Any]) -> None:
    """Add what `append` lists to the lists of `values`, else to those of `base`."""
    listed = file.table(table).get("append", {})
    place = file.place("append", table)
    lists = [key for key, kind in _KEYS.items() if get_origin(kind) is tuple]
    if not isinstance(listed, dict):
        raise ProfileError(f"{place}: append should be a table.", 'Such as append = { mounts = ["/data:/data"] }.')
    for key, more in listed.items():
        if key not in lists:
            raise ProfileError(
                f"{place}: {key} is not a list.", did_you_mean(key, lists) or f"Lists: {', '.join(lists)}."
            )
        if not (isinstance(more, list) and all(isinstance(text, str) for text in more)):
            raise ProfileError(f"{place}: append.{key} should be a list of texts in brackets.")
        values[key] = (*values.get(key, base.get(key, ())), *more)


def _read_keys(file: EnvFile, table: str, skip: Sequence[str] = ()) -> dict[str, Any]:
    values = {key: file.typed(_KEYS[key], key, table) for key in file.table(table) if key in _KEYS and key not in skip}
    if variables := values.get("env_vars"):
        for variable in variables:
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", variable):
                place = file.place("env_vars", table)
                raise ProfileError(f"{place}: an environment variable cannot be called {variable}.", "Rename it.")
        secret = {key: value for key, value in variables.items() if is_secret(key) or holds_secret(value)}
        values["secret_env_vars"] = secret
        values["env_vars"] = {key: value for key, value in variables.items() if key not in secret}
    return values
