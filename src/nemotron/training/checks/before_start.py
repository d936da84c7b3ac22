"""List all checks before a run, in order; their problems are raised together.

`check_inputs` checks what follows from config and data alone, and also runs before a job is submitted. `check_machine`
checks what needs the machine that trains.
"""

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
    check_tracker_packages,
)
from nemotron.training.checks.model import check_model_folder, check_start
from nemotron.training.checks.settings import check_adapters, check_numbers, check_settings
from nemotron.training.checks.trackers import check_trackers
from nemotron.training.config import SftConfig
from nemotron.training.counts import count_run
from nemotron.training.parallelism.configured import find_model, parallel_sizes
from nemotron.training.plan import Plan, make_plan
from nemotron.training.prepared_data import PreparedData
from nemotron.training.ranks import is_first


def check_inputs(
    config: SftConfig,
    data: PreparedData | None,
    start: StartingPoint,
    ranks: int | None,
    run: RunFolder | None = None,
) -> tuple[Plan | None, list[Problem]]:
    """Plan a run, and list the problems of settings, data, model and start.

    Checks of what cannot be read are skipped.

    Args:
        config: The training config.
        data: None if it cannot be read; checks that depend on it are skipped.
        start: What the run starts from.
        ranks: Number of processes; None if it is not known.
        run: The run's folders, on the machine that trains; None elsewhere.

    Returns:
        The plan and the problems. The plan is None if its numbers cannot be computed: a setting is wrong, a length or a
        size does not fit, or the packs are not known.
    """
    hf_model, sizes, model, plan = config.recipe.hf_model, parallel_sizes(config), find_model(config), None
    numbers = [*check_numbers(config)]
    problems = [*numbers, *check_settings(config), *check_adapters(config), *check_trackers(config)]
    if not numbers:
        counts = count_run(config, data)
        uncounted = [
            *check_length(config, counts, data),
            *(() if data is None else check_pack_size(config, data)),
            *check_parallel_sizes(config, sizes, model.shape, counts.pack_size, ranks),
        ]
        problems += uncounted
        if data is not None and counts.train_packs is not None and not uncounted:
            plan = make_plan(config, counts, data, start, run, model.shape)
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
    """List the problems on this machine: folders, backend, the run to resume.

    Args:
        config: The training config.
        data: None if it cannot be read.
        start: What the run starts from.
        run: Where it writes, and what it resumes.
        plan: None if its numbers could not be computed.
        backend: What it computes on; None skips this check, for a plan on a machine that will not train.
    """
    return [
        *check_start_is_here(start, run),
        *check_model_is_here(config.recipe.hf_model),
        *(() if data is None else check_tokenizer_is_here(config, data)),
        *check_artifacts(config.run.artifacts),
        *check_base_model(run),
        *(() if backend is None else check_backend(config, backend)),
        *check_tracker_packages(config),
        # Only on the first rank, which locks the folder; the others would find it locked.
        *(check_free(run) if is_first() else ()),
        *check_load(config, run),
        *check_same_run(run),
        *(() if data is None or plan is None else check_progress(config, data, run, plan)),
    ]
