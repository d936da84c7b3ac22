"""Refuse a length, a warm-up, a batch or stages of the loss that no run can have."""

from collections.abc import Iterator

from nemotron.errors import Problem, UserError, as_problem
from nemotron.training.config import SftConfig
from nemotron.training.objective.loss import resolve_schedule
from nemotron.training.plan import count_iterations, lengths_given
from nemotron.training.prepared_data import PreparedData


def check_length(config: SftConfig, data: PreparedData | None) -> Iterator[Problem]:
    """Yield a problem for each of: the length, the warm-up, the batch on this data, the stages of the loss.

    Args:
        data: None where it cannot be read; what depends on it is then left out.
    """
    yield from _check_given_once(config)
    batch, samples = config.train["global_batch_size"], config.train.get("train_samples")
    if samples is not None and samples < batch:
        yield Problem(
            f"train.train_samples is {samples}, less than one global batch of {batch}.",
            "Raise it, or lower the batch.",
        )
    packs = None if data is None else data.packs.get("train")
    if data is not None and packs is not None and packs < batch:
        yield Problem(
            f"train.global_batch_size is {batch}, but {data.reference} has only {packs} training packs.",
            f"Lower it (train.global_batch_size={packs}) or prepare more data.",
        )
    iterations = count_iterations(config, packs)
    if iterations:  # 0 is refused above
        try:
            resolve_schedule(config.loss.stages, iterations)
        except UserError as error:
            yield as_problem(error)


def _check_given_once(config: SftConfig) -> Iterator[Problem]:
    given = lengths_given(config)
    if len(given) > 1:
        yield Problem(
            f"The length of the run is given more than once: {', '.join(f'{k}={v}' for k, v in given.items())}.",
            "Keep one and set the others to null.",
        )
    samples, iters = (config.scheduler.get(f"lr_warmup_{unit}") or 0 for unit in ("samples", "iters"))
    if samples and iters:
        yield Problem(
            f"The warm-up is given twice: scheduler.lr_warmup_samples={samples} and scheduler.lr_warmup_iters={iters}.",
            "Keep one and set the other to 0.",
        )
