"""Every refusal before a run, in order, as lists.

What they find is raised together.

`check_inputs` asks what follows from config and data alone, and also runs before a job is submitted. `check_machine`
asks what needs the machine that trains.
"""

import os

from nemotron.errors import Problem
from nemotron.training.backend import Backend
from nemotron.training.checkpoints.initial_weights import StartingPoint
from nemotron.training.checkpoints.run_folder import RunFolder
from nemotron.training.checks.continuation import check_free, check_load, check_progress, check_same_run
from nemotron.training.checks.counts import check_length, check_pack_size, check_parallel_sizes
from nemotron.training.checks.data import check_padding, check_sample_unit, check_tokenizer, check_vocabulary
from nemotron.training.checks.machine import (
    check_artifacts,
    check_backend,
    check_base_model,
    check_model_is_here,
    check_start_is_here,
    check_tokenizer_is_here,
)
from nemotron.training.checks.model import check_model_folder, check_start
from nemotron.training.checks.settings import check_adapters, check_numbers, check_settings
from nemotron.training.config import SftConfig
from nemotron.training.parallelism.configured import find_model, parallel_sizes
from nemotron.training.plan import Plan, count_run, make_plan
from nemotron.training.prepared_data import PreparedData


def check_inputs(
    config: SftConfig,
    data: PreparedData | None,
    start: StartingPoint,
    ranks: int | None,
    run: RunFolder | None = None,
) -> tuple[Plan | None, list[Problem]]:
    """Plan a run, and list what does not fit among settings, data, model and start.

    What is not within reach is left out.

    Args:
        config: the training config.
        data: None where it cannot be read; what depends on it is then left out.
        start: what the run starts from.
        ranks: number of processes; None where it is not known.
        run: the run's folders, on the machine that trains; None on another one.

    Returns:
        The plan and the problems. The plan is None where the run cannot be counted: a number is wrong, a length or a
        size does not fit, or the packs are not known.
    """
    hf_model, sizes, model, plan = config.recipe.hf_model, parallel_sizes(config), find_model(config), None
    numbers = [*check_numbers(config)]
    problems = [*numbers, *check_settings(config), *check_adapters(config)]
    if not numbers:
        counts = count_run(config, data)
        uncounted = [
            *check_length(config, counts, data),
            *(() if data is None else check_pack_size(config, data)),
            *check_parallel_sizes(config, sizes, model.shape, counts.pack_size, ranks),
        ]
        problems += uncounted
        if data is not None and counts.train_packs is not None and not uncounted:
            plan = make_plan(config, counts, data, start, run)
    problems += [*check_model_folder(hf_model), *check_start(config, start)]
    if data is not None:
        problems += [
            *check_padding(config, data),
            *check_sample_unit(config, data),
            *check_vocabulary(data, model.vocab_size, hf_model),
            *check_tokenizer(config, data, start),
        ]
    return plan, problems


def check_machine(
    config: SftConfig,
    data: PreparedData | None,
    start: StartingPoint,
    run: RunFolder,
    plan: Plan | None,
    backend: Backend | None,
) -> list[Problem]:
    """List what is wrong on this machine: folders, backend, what is continued.

    Args:
        config: the training config.
        data: None where it cannot be read.
        start: what the run starts from.
        run: where it writes, and what it continues.
        plan: None where the run could not be counted.
        backend: what it computes on; None leaves that out, in a plan made where nothing will be trained.
    """
    return [
        *check_start_is_here(start, run),
        *check_model_is_here(config.recipe.hf_model),
        *(() if data is None else check_tokenizer_is_here(config, data)),
        *check_artifacts(config.run.artifacts),
        *check_base_model(run),
        *(() if backend is None else check_backend(config, backend)),
        # Only the first rank: it alone takes the folder, so that the others may find it taken.
        *(check_free(run) if os.environ.get("RANK", "0") == "0" else ()),
        *check_load(config, run),
        *check_same_run(run),
        *(() if data is None or plan is None else check_progress(config, data, run, plan)),
    ]
