"""Add to the 0.4 line's dataset of packs what later lines have.

This is shuffling, exact resuming, and evaluation to the last pack. The line's sampler takes rows in order, after
resuming it starts every further epoch where the run was resumed, and an evaluation is a number of whole training
batches. So it gets datasets whose rows are already in the order of the 0.6 line, one per pack of the whole run, or
filled up with packs that train nothing. Both lines then train on the same batches.
"""

from dataclasses import dataclass, fields
from typing import Any

from megatron.bridge.data.builders.finetuning_dataset import FinetuningDatasetBuilder
from megatron.bridge.training.config import (
    DataloaderConfig,
    DatasetBuildContext,
    DatasetProvider,
    FinetuningDatasetConfig,
)

from nemotron.training.bridge.pack_order import EpochOrder, FilledUp


@dataclass(kw_only=True)
class ShuffledPacks(FinetuningDatasetConfig, DatasetProvider):
    """FinetuningDatasetConfig with the datasets of pack_order.py.

    Megatron-Bridge lets a DatasetProvider build its own datasets.

    `dataset.*` of the YAML may set the fields of FinetuningDatasetConfig; the others follow from the run.
    """

    global_batch_size: int
    valid_rows: int = 0
    """Rows of an evaluation."""

    def build_datasets(self, context: DatasetBuildContext) -> tuple[Any, Any, Any]:
        """Build the train split in training order, and the valid split as one evaluation.

        There is no test split.
        """
        train, valid = self._packs(context.tokenizer)
        ordered = EpochOrder(train, context.train_samples, self.global_batch_size, self.seed)
        return ordered, None if valid is None else FilledUp(valid, self.valid_rows), None

    def build_evaluation(self, tokenizer: Any) -> "FilledUp":
        """Build the valid split as one evaluation."""
        return FilledUp(self._packs(tokenizer)[1], self.valid_rows)

    def _packs(self, tokenizer: Any) -> tuple[Any, Any]:
        ours = {field.name for field in fields(ShuffledPacks)} - {f.name for f in fields(FinetuningDatasetConfig)}
        not_the_builders = ours | {field.name for field in fields(DataloaderConfig)}
        settings = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in not_the_builders}
        train, valid, _ = FinetuningDatasetBuilder(tokenizer=tokenizer, **settings).build()
        return train, valid
