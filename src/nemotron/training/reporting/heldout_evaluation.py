"""Evaluate the test split once, when training ends."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from megatron.bridge.training.callbacks import Callback, CallbackContext
from megatron.bridge.training.eval import evaluate
from megatron.bridge.training.utils.pg_utils import get_pg_collection
from megatron.core.utils import get_model_config

from nemotron.training import bridge
from nemotron.training.objective.forward_step import TwoStageStep
from nemotron.training.prepared_data import PreparedData
from nemotron.training.reporting.metrics import MetricsWriter

logger = logging.getLogger(__name__)


def evaluate_test_split(data: PreparedData, step: TwoStageStep, writer: MetricsWriter) -> list[Callback]:
    """Return the callback that evaluates the test split at the end.

    If the split is empty, it logs this and returns no callback.
    """
    folder = data.folder("test")
    if folder is None:
        logger.warning("The test split is empty: no evaluation at the end.")
        return []
    return [TestSplit(folder, data.packs["test"], step, writer)]


class TestSplit(Callback):
    """Evaluates the packs of a folder after the last iteration.

    `writer` writes the losses to test.jsonl. Megatron-Bridge's own test evaluation reads only JSON lines, and as many
    batches as a validation. This one reads all of the packed Parquet.
    """

    __test__ = False  # not for pytest

    def __init__(self, folder: Path, packs: int, step: TwoStageStep, writer: MetricsWriter) -> None:
        self._folder = folder
        self._packs = packs
        self._step = step
        self._writer = writer

    def on_train_end(self, context: CallbackContext) -> None:
        """Evaluate the split; every rank calls this and takes part."""
        line = bridge.installed()
        state: Any = context.state
        ranks = get_pg_collection(context.model).dp
        batch, iterations = line.evaluation(self._packs, ranks.size(), state.cfg.train.global_batch_size, None, None)
        if batch == 0:
            return
        with _restore_settings(state.cfg):
            line.set_evaluation(state.cfg, batch, iterations)
            losses, _, _ = evaluate(
                state=state,
                forward_step_func=self._step,
                data_iterator=line.split_iterator(state.cfg, state.tokenizer, self._folder, ranks),  # pyright: ignore[reportArgumentType]
                model=context.model,
                process_non_loss_data_func=None,
                config=get_model_config(context.model[0]),
                is_test=True,
            )
            packs = line.count_evaluated_packs(state.cfg, self._packs)
        self._writer.write_evaluation("test", state.train_state.step, losses or {}, packs)


@contextmanager
def _restore_settings(container: Any) -> Iterator[None]:
    """Restore the settings that the `with` block changes.

    `evaluate()` reads the number of batches from the config.
    """
    sections = (container.validation, container.dataset)
    before = [dict(vars(section)) for section in sections]
    try:
        yield
    finally:
        for section, values in zip(sections, before, strict=True):
            vars(section).update(values)
