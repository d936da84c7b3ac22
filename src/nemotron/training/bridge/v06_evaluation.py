"""Evaluate the whole valid split in the 0.6 line.

Megatron-Bridge evaluates only full batches, so packs that the data-parallel ranks cannot share would be left out, and
another number of ranks would evaluate other packs. So we fill the split up with packs that train nothing.
Megatron-Bridge builds datasets by the type of their config and has no hook for this, so we wrap its function.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from nemotron.training.bridge.pack_order import FilledUp


def evaluate_whole() -> None:
    """Make Megatron-Bridge read the whole valid split, filled by `fill_up`.

    A second call does nothing.
    """
    from megatron.bridge.data import loaders

    original: Any = loaders.build_train_valid_test_data_loaders
    if hasattr(original, "__wrapped__"):
        return

    @wraps(original)
    def build(
        cfg: Any,
        train_state: Any,
        build_train_valid_test_datasets_provider: Callable[..., Any],
        *arguments: Any,
        **options: Any,
    ) -> Any:
        rows = rows_of_an_evaluation(cfg)

        def filled(*provided: Any, **provided_options: Any) -> Any:
            train, valid, test = build_train_valid_test_datasets_provider(*provided, **provided_options)
            if valid is not None and rows >= len(valid):
                # An evaluation is then an epoch of the split. Counted in batches of another number of ranks, the rows
                # read so far could end in the middle of an epoch.
                train_state.consumed_valid_samples -= train_state.consumed_valid_samples % rows
                valid = FilledUp(valid, rows)
            return train, valid, test

        return original(cfg, train_state, filled, *arguments, **options)

    loaders.build_train_valid_test_data_loaders = build


def rows_of_an_evaluation(container: Any) -> int:
    """Count the rows that one evaluation reads."""
    validation = container.validation
    return (validation.eval_iters or 0) * (validation.eval_global_batch_size or 0)


def fill_up(packs: Any, rows: int) -> Any:
    """Fill packs up to at least `rows` rows with packs that train nothing."""
    return FilledUp(packs, rows) if rows >= len(packs) else packs
