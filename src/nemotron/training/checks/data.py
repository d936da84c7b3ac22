"""Refuse data whose packs do not fit the settings: their size, and how conversations are padded in them."""

from collections.abc import Iterator

from nemotron.errors import Problem
from nemotron.training.config import SftConfig
from nemotron.training.prepared_data import PreparedData


def check_pack_size(config: SftConfig, data: PreparedData) -> Iterator[Problem]:
    """Yield a problem when the pack size is not known, or is not the one that `dataset.seq_length` asks for."""
    asked = config.dataset.get("seq_length")
    if data.pack_size is None and asked is None:
        yield Problem(
            f"{data.reference} does not record its pack size.", "Set dataset.seq_length to the pack size of the data."
        )
    elif None not in (data.pack_size, asked) and data.pack_size != asked:
        yield Problem(
            f"dataset.seq_length is {asked}, but {data.reference} was packed to {data.pack_size} tokens.",
            f"Leave dataset.seq_length out, or prepare the data with pack_size={asked}.",
        )


def check_padding(config: SftConfig, data: PreparedData) -> Iterator[Problem]:
    """Yield a problem when context-parallel ranks cannot share the data, or the trainer's padding is not the data's.

    Each conversation is cut into 2 * CP equal slices, of which every rank takes two (Transformer Engine's load
    balancing), so its length must be a multiple of 2 * CP.
    """
    ranks, asked = config.model.get("context_parallel_size"), config.dataset.get("pad_seq_to_mult")
    padded_to = data.pad_to_multiple
    if isinstance(ranks, int) and ranks > 1 and padded_to % (2 * ranks):
        yield Problem(
            f"model.context_parallel_size={ranks} needs conversations padded to a multiple of {2 * ranks}, but "
            f"{data.reference} has pad_to_multiple={padded_to}.",
            f"Prepare the data with pad_to_multiple={2 * ranks}, or set model.context_parallel_size=1.",
        )
    if isinstance(asked, int) and asked > 0 and padded_to % asked:
        yield Problem(
            f"dataset.pad_seq_to_mult is {asked}, but {data.reference} has pad_to_multiple={padded_to}.",
            "Leave dataset.pad_seq_to_mult out: it follows from the data.",
        )
