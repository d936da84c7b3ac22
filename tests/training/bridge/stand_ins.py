"""What the tests of both release lines put in the place of Megatron-Bridge's parts."""

import itertools
from dataclasses import dataclass
from types import SimpleNamespace

from tests.stand_ins import put_modules


class Group:
    """A process group, as far as Megatron asks it."""

    def __init__(self, rank=0, size=1):
        self.rank = lambda: rank
        self.size = lambda: size


def groups(cp=1, tp=1, rank=0):
    return SimpleNamespace(cp=Group(rank, cp), tp=Group(rank, tp), pp="pipeline")


@dataclass
class Specs:
    """Megatron-Bridge's PackedSequenceSpecs."""

    packed_sequence_size: int
    packed_train_data_path: str
    packed_val_data_path: str | None
    packed_metadata_path: str
    pad_seq_to_mult: int


class Rows(list):
    """Packs as a dataset of Megatron-Bridge has them; a negative row is one without a loss mask."""

    collate_fn = "collator"

    def __getitem__(self, row):
        return super().__getitem__(row) if row >= 0 else "filler"


def stand_in_for_loaders(monkeypatch):
    """Let a loader be all its rows, repeated; the list notes the choices that each was made with."""
    made = []

    def build(dataset, consumed, kind, micro_batch, workers, sharding, *, collate_fn, pin_memory, **choices):
        assert (consumed, micro_batch) == (0, 1)
        assert (kind, workers, sharding, pin_memory, collate_fn) == ("batch", 2, True, True, "collator")
        names = {"data_parallel_rank": "rank", "data_parallel_size": "size", "global_batch_size": "batch"}
        made.append({names.get(name, name): value for name, value in choices.items()})
        return [[dataset[row] for row in range(len(dataset))]]

    put_modules(
        monkeypatch,
        {
            "megatron.bridge.data.loaders": {"cyclic_iter": itertools.cycle},
            "megatron.bridge.data.samplers": {"build_pretraining_data_loader": build},
            "megatron.core.rerun_state_machine": {"RerunDataIterator": iter},
        },
    )
    return made
