"""Check what types cannot express: times, paths, names, unsafe text."""

import re
from typing import Any

from nemotron.config import holds_secret, is_secret
from nemotron.launch.profiles.env_file import EnvFile, ProfileError
from nemotron.launch.profiles.profile import Profile

_TIME = re.compile(r"\d+(:\d+){0,2}|\d+-\d+(:\d+){0,2}|infinite|unlimited", re.IGNORECASE)
_MEMORY = re.compile(r"\d+[KMGT]?B?", re.IGNORECASE)
_ADDRESS = re.compile(r"[\w.:@+%~/][\w.:@+%~/-]*")
_ASSIGNED = re.compile(r"\b([A-Za-z_]\w*)=(?![\"']?[$`])(?=[\"']?[^\s\"'])")
_OPTION = re.compile(r"[a-z][a-z0-9_-]*")
_FREE_TEXT = ("startup_commands", "env_vars", "secret_env_vars", "name", "source", "stage_overrides", "options")
_SECRETS_GO_BY = {
    "skypilot": 'file_mounts = { "~/.cache/huggingface/token" = "~/.cache/huggingface/token" }',
    "lepton": 'secret_vars = { HF_TOKEN = "NAME-OF-THE-SECRET" }',
    "dgxcloud": "a secret of the project, in custom_spec",
    "kubeflow": 'env_list = [{ name = "HF_TOKEN", valueFrom = { secretKeyRef = { name = "hf", key = "token" } } }]',
}
"""How to pass secrets to these executors: NeMo-Run would write variables to requests and files in clear text."""


def check_profile(file: EnvFile, profile: Profile, table: str) -> None:
    """Refuse values that no cluster can use, or that would break a script.

    Raises:
        ProfileError: A value cannot be used; the message has the file and line of the first.
    """
    for key in ("nodes", "ntasks_per_node", "cpus_per_task"):
        count = getattr(profile, key)
        if count is not None and count < 1:
            raise ProfileError(f"{file.place(key, table)}: {key} = {count} should be at least 1.")
    if profile.is_passed_on and (profile.secrets or profile.secret_env_vars):
        key = "secrets" if profile.secrets else "env_vars"
        way = _SECRETS_GO_BY[profile.executor.removesuffix("_jobs")]
        raise ProfileError(
            f"{file.place(key, table)}: {key} would pass on secrets, which NeMo-Run's {profile.executor} would expose.",
            f"Use the service's own way instead: {way}.",
        )
    _check_texts(file, profile, table)
    _check_forms(file, profile, table)
    _check_paths(file, profile, table)
    needed = [key for key in ("host", "user", "remote_job_dir") if not getattr(profile, key)]
    if profile.tunnel == "ssh" and needed:
        place = file.place("tunnel", table)
        raise ProfileError(f'{place}: tunnel = "ssh" needs {", ".join(needed)} too.', f"Add them to [{table}].")


def _check_texts(file: EnvFile, profile: Profile, table: str) -> None:
    """Refuse line breaks, and credentials that a script would expose."""
    for key, value in vars(profile).items():
        texts = [text for text in _texts(value) if isinstance(text, str)]
        place = file.place(key, table)
        if key not in _FREE_TEXT and any(re.search(r"[\x00-\x1f\x7f]", text) for text in texts):
            raise ProfileError(f"{place}: {key} has a line break or another control character.", "Remove it.")
        is_free = key in ("secret_env_vars", "stage_overrides")
        if not is_free and any(holds_secret(text) or _assigns_secret(text) for text in texts):
            raise ProfileError(
                f"{place}: {key} contains credentials, which would be written to the job's script.",
                "Put them in an environment variable, and list its name under secrets.",
            )


def _assigns_secret(text: str) -> bool:
    """Tell whether a text sets a variable such as API_TOKEN.

    `API_TOKEN=$OTHER` and `API_TOKEN=$(command)` hold no secret.
    """
    return any(is_secret(found[1]) for found in _ASSIGNED.finditer(text))


def _texts(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [*value, *(text for inner in value.values() for text in _texts(inner))]
    return [text for inner in value for text in _texts(inner)] if isinstance(value, list | tuple) else [value]


def _check_forms(file: EnvFile, profile: Profile, table: str) -> None:
    def refuse(key: str, value: str, advice: str) -> None:
        raise ProfileError(f"{file.place(key, table)}: {key} = {value!r} cannot be used.", advice)

    if profile.time and not _TIME.fullmatch(profile.time):
        refuse("time", profile.time, 'Use minutes, "HH:MM:SS" or "D-HH:MM:SS"; four hours are "04:00:00".')
    if profile.mem and not _MEMORY.fullmatch(profile.mem):
        refuse("mem", profile.mem, 'Use a whole number and a unit, such as "200G"; "0" is all memory of a node.')
    for key in ("host", "user", "identity"):
        if (value := getattr(profile, key)) and not _ADDRESS.fullmatch(value):
            refuse(key, value, "Use only letters, digits and . _ - /, because it becomes part of ssh commands.")
    for package in profile.install:
        if package.startswith("-"):
            refuse("install", package, "Write requirements, such as gigatoken>=0.10; set options of pip in env_vars.")
    for option in profile.additional_parameters:
        if not _OPTION.fullmatch(option):
            refuse("additional_parameters", option, "Write the option of sbatch without its dashes.")


def _check_paths(file: EnvFile, profile: Profile, table: str) -> None:
    for mount in profile.mounts:
        source, _, target = mount.partition(":")
        if not source or not target or re.search(r"[\s,]", mount):
            place = file.place("mounts", table)
            raise ProfileError(f'{place}: the mount "{mount}" cannot be used.', "Write it as source:target.")
        if not (source.startswith("/") or profile.is_here) or not target.startswith("/"):
            place = file.place("mounts", table)
            raise ProfileError(
                f'{place}: the mount "{mount}" is relative.',
                "Write absolute paths, because the job starts in another folder.",
            )
    if profile.workdir and not profile.workdir.startswith("/"):
        place = file.place("workdir", table)
        raise ProfileError(f"{place}: workdir = {profile.workdir!r} is relative.", "Write an absolute path.")
