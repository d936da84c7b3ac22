"""Look at a training run before it starts, and refuse it."""

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nemotron.cli import console
from nemotron.errors import Problem, refuse

if TYPE_CHECKING:
    from nemotron.config import Loaded
    from nemotron.launch import Placement
    from nemotron.training.backend import Backend
    from nemotron.training.checkpoints.initial_weights import StartingPoint
    from nemotron.training.checkpoints.run_folder import RunFolder
    from nemotron.training.config import SftConfig
    from nemotron.training.prepared_data import PreparedData


@dataclass(frozen=True)
class Found:
    """What a run needs, as it is found from here: looked at once, and handed on."""

    start: "StartingPoint"
    data: "PreparedData | None"
    missing: list[Problem]
    """The problem with the data, if it cannot be read."""
    expected: "PreparedData | None"
    """What data prep will make, if the run waits for it."""

    @property
    def checked(self) -> "PreparedData | None":
        """The data that the config must fit: what is there, or what data prep will make."""
        return self.data or self.expected


@dataclass(frozen=True)
class FoundHere:
    """What a run on this machine needs, and its folders."""

    inputs: Found
    run: "RunFolder"


def look(config: "SftConfig", name: str, expected: "PreparedData | None") -> Found:
    """Look at the starting weights and the data of a run.

    Args:
        config: The training config.
        name: Its name.
        expected: What data prep will make, if anything. Existing data is looked for only without it, or if its run
            hash is known, and is used only if it is the same data.
    """
    from nemotron.training.checkpoints.initial_weights import find_start
    from nemotron.training.prepared_data import find_data

    start = find_start(config)
    data, missing = find_data(config, name) if expected is None or expected.run_hash is not None else (None, [])
    if expected is not None and (data is None or data.run_hash != expected.run_hash):
        data, missing = None, []
    return Found(start, data, missing, expected)


def look_here(config: "SftConfig", name: str, expected: "PreparedData | None") -> FoundHere:
    """Look at the folders of a run on this machine, too; arguments as of `look`."""
    from nemotron.training.checkpoints.run_folder import find_run_folder

    found = look(config, name, expected)
    return FoundHere(found, find_run_folder(config, found.data, found.start))


def refuse_here(loaded: "Loaded[SftConfig]", expected: "PreparedData | None" = None) -> None:
    """Refuse a run on this machine, with all of its problems.

    Args:
        loaded: The training config.
        expected: What data prep will make, if anything (`look`).

    Raises:
        UserError: Something is wrong.
    """
    refuse_with_torch(loaded, refuse_before_torch(loaded, expected))


def refuse_before_torch(loaded: "Loaded[SftConfig]", expected: "PreparedData | None" = None) -> FoundHere:
    """Refuse what can be refused without torch, whose import takes seconds.

    If anything is refused, GPUs are counted without torch, to list as many problems as possible.

    Args:
        loaded: The training config.
        expected: As in `refuse_here`.

    Returns:
        What was found, for `refuse_with_torch`.

    Raises:
        UserError: Something is wrong.
    """
    from nemotron.launch import count_gpus
    from nemotron.training.backend import choose_backend

    asked = loaded.config.run
    ranks = None if asked.nproc_per_node == "auto" else asked.nproc_per_node
    found = look_here(loaded.config, loaded.name, expected)
    if _list_problems(loaded, found, ranks, None):
        gpus = count_gpus()
        backend = choose_backend(asked.backend, gpus > 0)
        refuse(_list_problems(loaded, found, ranks or max(1, gpus), backend))
    return found


def refuse_with_torch(loaded: "Loaded[SftConfig]", found: FoundHere) -> None:
    """Refuse what depends on the GPUs of this machine, too."""
    from nemotron.launch import count_processes
    from nemotron.training.backend import choose_backend

    asked = loaded.config.run
    with console.show_work("look for GPUs"):
        backend, processes = choose_backend(asked.backend), count_processes(asked.nproc_per_node)
    refuse(_list_problems(loaded, found, processes, backend))


def _list_problems(
    loaded: "Loaded[SftConfig]", found: FoundHere, ranks: int | None, backend: "Backend | None"
) -> list[Problem]:
    from nemotron.training.checks.inputs import check_inputs
    from nemotron.training.checks.machine import check_machine

    config, inputs, run = loaded.config, found.inputs, found.run
    plan, problems = check_inputs(config, inputs.checked, inputs.start, ranks, run)
    machine = check_machine(config, inputs.data, inputs.start, run, plan, backend)
    return [*find_jobs(loaded), *inputs.missing, *problems, *machine]


def find_jobs(loaded: "Loaded[SftConfig]") -> list[Problem]:
    """Find the submitted job that works in the folders of a run on this machine."""
    from nemotron.launch.jobs.in_use import check_folders_here
    from nemotron.launch.stages import list_sft_writes

    return [*check_folders_here(list_sft_writes(loaded))]


def refuse_on(loaded: "Loaded[SftConfig]", placement: "Placement", expected: "PreparedData | None" = None) -> None:
    """Refuse a run before it is queued, as far as this machine can check it.

    Args:
        loaded: The training config.
        placement: The stage on its profile.
        expected: As in `refuse_here`.

    Raises:
        UserError: Something is wrong.
    """
    from nemotron.training.checks.inputs import check_inputs

    config = config_there(loaded, placement)
    with folder_of(placement):
        found = look(config, loaded.name, expected)
        _, problems = check_inputs(config, found.checked, found.start, placement.ranks)
        refuse(problems)
    absent = [("data", problem.message) for problem in found.missing]
    absent += [("model", found.start.unresolved.message)] if found.start.unresolved else []
    for what, message in absent:
        console.note(f"The {what} cannot be read from here; the job checks it when it starts. {message}")


def config_there(loaded: "Loaded[SftConfig]", placement: "Placement") -> "SftConfig":
    """Load the config as the job will; over ssh, ~ is another home."""
    return loaded.convert_unexpanded() if placement.profile.is_elsewhere else loaded.config


@contextlib.contextmanager
def folder_of(placement: "Placement") -> Iterator[None]:
    """Work in the folder in which the job will start, so that relative paths match.

    If that is on another machine, work in an empty folder, because local files do not matter then.
    """
    there = Path(placement.workdir)
    with contextlib.ExitStack() as stack:
        if placement.profile.is_elsewhere or not there.is_dir():
            there = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(contextlib.chdir(there))
        yield
