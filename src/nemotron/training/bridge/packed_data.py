"""Pass packs to Megatron-Bridge, in what all release lines have in common."""

from functools import wraps
from pathlib import Path
from types import ModuleType
from typing import Any

from nemotron.files.regular_files import open_parquet
from nemotron.training.bridge.interface import Packs
from nemotron.training.bridge.versions import build
from nemotron.training.conversation_targets import name_damaged_shard, read_conversation_targets


def describe_packs(packs: Packs, specs_class: type, datasets: ModuleType) -> tuple[Any, dict[str, Any]]:
    """Describe folders of packs to Megatron-Bridge, which will verify their pages.

    Args:
        packs: What is read.
        specs_class: The line's PackedSequenceSpecs.
        datasets: The module in which the line looks up its GPTSFTPackedParquetDataset when it builds one.

    Returns:
        The specs, and the dataset config's fields that do not depend on the line.
    """
    read_conversation_targets(datasets, packs.conversation_targets)
    verify_pages(datasets.GPTSFTPackedParquetDataset)
    fields = dict(packs.options)
    specs = build(
        specs_class,
        packed_sequence_size=packs.pack_size,
        packed_train_data_path=str(packs.train),
        packed_val_data_path=None if packs.valid is None else str(packs.valid),
        # Read only for padded cu_seqlens; without a value Megatron-Bridge creates a folder below dataset_root.
        packed_metadata_path=str(packs.train.parent / "metadata.json"),
        pad_seq_to_mult=fields.pop("pad_seq_to_mult", 1),
    )
    fields["do_validation"] = packs.valid is not None and fields.get("do_validation", True)
    fields["dataset_kwargs"] = {"pad_to_max_length": True, **(fields.get("dataset_kwargs") or {})}
    return specs, {**fields, "seq_length": packs.pack_size, "dataset_root": str(packs.train.parent), "do_test": False}


def verify_pages(dataset_class: Any) -> None:
    """Make Megatron-Bridge verify the checksums of the Parquet pages that it reads.

    A second call does nothing.

    Args:
        dataset_class: The line's GPTSFTPackedParquetDataset, which opens a shard in `_ensure_reader`, in whichever
            process reads it. A shard in an object store is left to it.
    """
    open_shard = dataset_class._ensure_reader
    if hasattr(open_shard, "__wrapped__"):
        return

    @wraps(open_shard)
    def open_verified(dataset: Any, file_idx: int) -> Any:
        path = dataset._parquet_paths[file_idx]
        if file_idx not in dataset._parquet_files and Path(path).is_file():
            dataset._parquet_files[file_idx] = (_VerifiedShard(path), None)
        return open_shard(dataset, file_idx)

    dataset_class._ensure_reader = open_verified


class _VerifiedShard:
    """The part of pyarrow's ParquetFile that Megatron-Bridge uses.

    Raises:
        UserError: The shard is damaged.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        with name_damaged_shard(self._path):
            self._file = open_parquet(path)

    def read_row_group(self, number: int, columns: list[str]) -> Any:
        """Read packs."""
        with name_damaged_shard(self._path):
            return self._file.read_row_group(number, columns=columns)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def repeat_batches(dataset: Any, config: Any, ranks: Any, global_batch_size: int, **options: Any) -> Any:
    """Iterate over one data-parallel rank's share of a dataset, repeatedly.

    Args:
        dataset: One evaluation, in order.
        config: The dataset config, for the loader's settings.
        ranks: The data-parallel process group.
        global_batch_size: Packs of a batch, over all ranks.
        options: Further arguments of the line's `build_pretraining_data_loader`.
    """
    from megatron.bridge.data.loaders import cyclic_iter
    from megatron.bridge.data.samplers import build_pretraining_data_loader
    from megatron.core.rerun_state_machine import RerunDataIterator

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
        global_batch_size=global_batch_size,
        **options,
    )
    return RerunDataIterator(iter(cyclic_iter(loader)))
