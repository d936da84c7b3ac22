"""Every refusal before a run, in order, as lists; what they find is raised together.

`check_counts` and `check_inputs` ask what follows from config and data alone, and also run before a job is submitted.
`check_machine` asks what needs the machine that trains.
"""

from pathlib import Path

from nemotron.errors import Problem, UserError, as_problem
from nemotron.lineage import check_root
from nemotron.training.checkpoints.initial_weights import StartingPoint
from nemotron.training.checkpoints.run_folder import RunFolder
from nemotron.training.checks.adapters import check_adapters
from nemotron.training.checks.backend import check_backend
from nemotron.training.checks.continuation import check_load, check_progress, check_same_run
from nemotron.training.checks.data import check_pack_size, check_padding
from nemotron.training.checks.length import check_length
from nemotron.training.checks.model import check_model_folder, check_model_is_here
from nemotron.training.checks.numbers import check_numbers
from nemotron.training.checks.parallel_sizes import check_parallel_sizes
from nemotron.training.checks.settings import check_settings
from nemotron.training.checks.starting_weights import check_start, check_start_is_here
from nemotron.training.checks.tokenizer import check_tokenizer, check_tokenizer_is_here, check_vocabulary
from nemotron.training.config import SftConfig
from nemotron.training.parallelism.configured import find_vocab_size
from nemotron.training.plan import Plan, find_pack_size
from nemotron.training.prepared_data import PreparedData, find_prepared_data


def find_data(config: SftConfig, config_name: str) -> tuple[PreparedData | None, list[Problem]]:
    """Look for the prepared data; without it, return the problem with it.

    Args:
        config_name: for the command that the problem suggests.
    """
    try:
        return find_prepared_data(config.run.data, Path(config.run.artifacts), config_name=config_name), []
    except UserError as error:
        return None, [as_problem(error)]


def check_counts(config: SftConfig, data: PreparedData | None, ranks: int | None) -> list[Problem]:
    """List what keeps a run from being counted: without a problem here, `make_plan` succeeds.

    Numbers are asked first: the others calculate with them.

    Args:
        data: None where it cannot be read; what depends on it is then left out.
        ranks: processes in all; None where it is not known.
    """
    if problems := [*check_numbers(config)]:
        return problems
    return [
        *check_length(config, data),
        *([] if data is None else check_pack_size(config, data)),
        *check_parallel_sizes(config, find_pack_size(config, data), ranks),
    ]


def check_inputs(config: SftConfig, data: PreparedData | None, start: StartingPoint) -> list[Problem]:
    """List what does not fit among settings, data, model and start, of what is within reach.

    Args:
        data: None where it cannot be read; what depends on it is then left out.
        start: what the run starts from.
    """
    hf_model = config.recipe.hf_model
    problems = [
        *check_start(config, start),
        *check_model_folder(hf_model),
        *check_settings(config, find_pack_size(config, data)),
        *check_adapters(config),
    ]
    if data is None:
        return problems
    return [
        *problems,
        *check_padding(config, data),
        *check_tokenizer(config, data, start),
        *check_vocabulary(data, find_vocab_size(config), hf_model),
    ]


def check_machine(
    config: SftConfig,
    data: PreparedData | None,
    start: StartingPoint,
    run: RunFolder,
    plan: Plan | None,
    gpu: bool | None,
) -> list[Problem]:
    """List what is wrong with a run on this machine: the folders it needs, the backend, and what it continues.

    Args:
        plan: None where the run could not be counted.
        gpu: whether it has a GPU; None leaves the backend out, in a plan made where nothing will be trained.
    """
    return [
        *check_start_is_here(start),
        *check_model_is_here(config.recipe.hf_model),
        *_check_artifacts(config.run.artifacts),
        *(() if gpu is None else check_backend(config, gpu)),
        *(() if data is None else check_tokenizer_is_here(config, data)),
        *check_load(run),
        *(() if data is None else check_same_run(config, data, run)),
        *(() if data is None or plan is None else check_progress(config, data, run, plan)),
    ]


def _check_artifacts(root: str) -> list[Problem]:
    try:
        check_root(root)
    except UserError as error:
        return [as_problem(error)]
    return []
