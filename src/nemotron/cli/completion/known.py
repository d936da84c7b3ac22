"""List names to complete: configs, profiles, artifacts, jobs, files."""

import contextlib
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path

from nemotron.files.regular_files import read_text

_Command = tuple[str, ...]


def configs(command: _Command, typed: str) -> Iterator[tuple[str, str]]:
    """List the shipped configs of a command, and YAML files."""
    from nemotron.cli.configs import PREP_GROUP, ROLLOUTS_GROUP
    from nemotron.config import config_names

    group = ROLLOUTS_GROUP if "rollouts" in command else PREP_GROUP if "data" in command else ""
    yield from ((name, "shipped") for name in config_names(group))
    yield from files(command, typed, suffixes=(".yaml", ".yml"))


def prep_configs(command: _Command, typed: str) -> Iterator[tuple[str, str]]:
    """List the configs of data prep, for `pipe`."""
    return configs(("data",), typed)


def profiles(command: _Command, typed: str) -> Iterator[tuple[str, str]]:
    """List the profiles of env.toml.

    The file is read here because importing nemotron.launch takes too long for completion.
    """
    here = Path.cwd()
    named = os.environ.get("NEMOTRON_ENV_FILE")
    places = [Path(named)] if named else [folder / "env.toml" for folder in (here, *here.parents)]
    path = next((path for path in places if path.is_file()), None)
    with contextlib.suppress(OSError, ValueError, RecursionError):
        tables = tomllib.loads(read_text(path)) if path else {}
        for name, table in tables.items():
            if isinstance(table, dict) and name not in ("wandb", "artifacts"):
                yield name, str(table.get("executor", ""))


def artifacts(command: _Command, typed: str, kind: str | None = None) -> Iterator[tuple[str, str]]:
    """List the artifacts recorded here: names, versions and aliases.

    Args:
        command: The command on the line.
        typed: The typed part of the word.
        kind: List only those whose latest version is of this type: dataset or model.
    """
    from nemotron.lineage.artifact import list_names, list_versions, read_aliases, read_version

    root = Path(os.environ.get("NEMOTRON_ARTIFACTS") or "output/artifacts")
    for name in list_names(root):
        with contextlib.suppress(OSError, ValueError):  # a damaged record does not hide the others
            if kind is not None and read_version(root, name, list_versions(root, name)[-1]).type != kind:
                continue
            yield name, "the latest version"
            for version in list_versions(root, name):
                yield f"{name}:v{version}", ""
            for alias, version in read_aliases(root, name).items():
                yield f"{name}:{alias}", f"v{version}"


def jobs(command: _Command, typed: str) -> Iterator[tuple[str, str]]:
    """List the recorded jobs and submissions."""
    from nemotron.launch.jobs.records import read_records

    for record in read_records():
        yield record.name, record.profile
        for job in record.jobs:
            if job.id:
                yield job.id, f"{job.stage}, {job.state.lower()}"


def outcomes(command: _Command, typed: str) -> Iterator[tuple[str, str]]:
    """List the values of `inspect --only`."""
    from nemotron.data_prep.drop_reasons import DropReason, describe

    yield from ((word, "") for word in ("kept", "dropped"))
    yield from ((reason.value, describe(reason)) for reason in DropReason)


def files(command: _Command, typed: str, *, suffixes: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """List files and folders as the shell would."""
    folder, _, begins = typed.rpartition("/")
    start = Path(os.path.expanduser(f"{folder}/") if folder or typed.startswith("/") else ".")
    prefix = f"{folder}/" if "/" in typed else ""
    with contextlib.suppress(OSError):
        for entry in sorted(os.scandir(start), key=lambda entry: entry.name):
            if entry.name.startswith(begins) and (begins or not entry.name.startswith(".")):
                if entry.is_dir():
                    yield f"{prefix}{entry.name}/", ""
                elif not suffixes or entry.name.endswith(suffixes):
                    yield f"{prefix}{entry.name}", ""


def folders(command: _Command, typed: str) -> Iterator[tuple[str, str]]:
    """List folders."""
    yield from ((name, text) for name, text in files(command, typed) if name.endswith("/"))


def folders_and_artifacts(command: _Command, typed: str) -> Iterator[tuple[str, str]]:
    """List folders and recorded models."""
    yield from folders(command, typed)
    yield from artifacts(command, typed, "model")
