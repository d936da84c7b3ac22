"""The test split, evaluated once when training ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from megatron.bridge.data.builders.gpt_sft import GPTSFTDatasetBuilder
from megatron.bridge.data.loaders import cyclic_iter
from megatron.bridge.data.samplers import build_pretraining_data_loader
from megatron.bridge.training.callbacks import Callback, CallbackContext
from megatron.bridge.training.eval import evaluate
from megatron.bridge.training.utils.pg_utils import get_pg_collection
from megatron.core.rerun_state_machine import RerunDataIterator
from megatron.core.utils import get_model_config

from nemotron.training.batches import evaluation_batches
from nemotron.training.metrics import MetricsWriter
from nemotron.training.step import TwoStageStep


class TestSplit(Callback):
    """Evaluates the packs of `folder` after the last iteration and has `writer` write the losses to test.jsonl.

    Megatron-Bridge's own test evaluation reads JSON lines only, and as many batches as a validation. This one reads
    the packed Parquet, all of it but for what the data-parallel ranks cannot share evenly.
    """

    __test__ = False  # not for pytest

    def __init__(self, folder: Path, packs: int, step: TwoStageStep, writer: MetricsWriter) -> None:
        self._folder = folder
        self._packs = packs
        self._step = step
        self._writer = writer

    def on_train_end(self, context: CallbackContext) -> None:
        """Evaluate. Called on every rank; all of them take part."""
        state: Any = context.state
        ranks = get_pg_collection(context.model).dp
        largest = state.cfg.train.global_batch_size
        batch, iterations = evaluation_batches(self._packs, ranks.size(), largest)
        if batch == 0:
            return
        with _evaluating(state.cfg.validation, batch, iterations):
            losses, _, _ = evaluate(
                state=state,
                forward_step_func=self._step,
                data_iterator=self._packs_of(state, ranks, batch),
                model=context.model,
                process_non_loss_data_func=None,
                config=get_model_config(context.model[0]),
                is_test=True,
            )
        self._writer.write_evaluation("test", state.train_state.step, losses or {}, batch * iterations)

    def _packs_of(self, state: Any, ranks: Any, batch: int) -> RerunDataIterator:
        """This rank's share of the split, batch by batch, in order."""
        config = state.cfg.dataset
        specs = replace(config.offline_packing_specs, packed_val_data_path=str(self._folder))
        builder = GPTSFTDatasetBuilder(
            config=replace(config, offline_packing_specs=specs, do_validation=True), tokenizer=state.tokenizer
        )
        dataset: Any = builder.build()[1]
        loader: Any = build_pretraining_data_loader(
            dataset,
            0,
            config.dataloader_type,
            1,
            config.num_workers,
            config.data_sharding,
            collate_fn=dataset.collate_fn,
            pin_memory=config.pin_memory,
            data_parallel_rank=ranks.rank(),
            data_parallel_size=ranks.size(),
            global_batch_size=batch,
            seed=config.seed,
        )
        return RerunDataIterator(iter(cyclic_iter(loader)))


@contextmanager
def _evaluating(validation: Any, batch: int, iterations: int) -> Iterator[None]:
    """Have `evaluate()`, which reads the size of its job from the config, take this many batches of this size."""
    before = validation.eval_global_batch_size, validation.eval_iters, validation.eval_micro_batch_size
    validation.eval_global_batch_size, validation.eval_iters, validation.eval_micro_batch_size = batch, iterations, 1
    try:
        yield
    finally:
        validation.eval_global_batch_size, validation.eval_iters, validation.eval_micro_batch_size = before
