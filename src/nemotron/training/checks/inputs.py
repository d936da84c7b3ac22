"""List the checks of config and data, in order, and plan the run.

They run before a job is submitted, too. `check_machine` (machine.py) checks what needs the machine that trains.
"""

from nemotron.errors import Problem
from nemotron.training.checkpoints.initial_weights import StartingPoint
from nemotron.training.checkpoints.run_folder import RunFolder
from nemotron.training.checks.counts import check_length, check_pack_size, check_parallel_sizes
from nemotron.training.checks.data import check_padding, check_sample_unit, check_tokenizer
from nemotron.training.checks.model import check_model_folder, check_start, check_vocabulary
from nemotron.training.checks.settings import check_adapters, check_numbers, check_settings, check_trackers
from nemotron.training.config import SftConfig
from nemotron.training.counts import count_run
from nemotron.training.parallelism.model_shape import find_model
from nemotron.training.plan import Plan, make_plan
from nemotron.training.prepared_data import PreparedData


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
    hf_model, model, plan = config.recipe.hf_model, find_model(config), None
    numbers = [*check_numbers(config)]
    problems = [*numbers, *check_settings(config), *check_adapters(config), *check_trackers(config)]
    if not numbers:
        counts = count_run(config, data)
        uncounted = [
            *check_length(config, counts, data),
            *(() if data is None else check_pack_size(config, data)),
            *check_parallel_sizes(config, model.shape, counts.pack_size, ranks),
        ]
        problems += uncounted
        if data is not None and counts.train_packs is not None and not uncounted:
            plan = make_plan(config, counts, data, start, run, model.shape)
    problems += [
        *check_model_folder(hf_model, model),
        *(() if data is None else check_vocabulary(data, model.vocab_size, hf_model)),
        *check_start(config, start),
    ]
    if data is not None:
        problems += [
            *check_padding(config, data),
            *check_sample_unit(config, data),
            *check_tokenizer(config, data, start),
        ]
    return plan, problems
