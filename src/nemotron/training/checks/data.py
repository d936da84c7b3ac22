"""Check that the data fits: its padding, its samples and its tokenizer."""

from collections.abc import Iterator
from pathlib import Path

from nemotron.errors import Problem
from nemotron.training.checkpoints.initial_weights import StartingPoint
from nemotron.training.config import SftConfig
from nemotron.training.conversation_targets import CONVERSATION_TARGETS
from nemotron.training.prepared_data import DataTokenizer, PreparedData


def check_padding(config: SftConfig, data: PreparedData) -> Iterator[Problem]:
    """Yield a problem if the padding does not fit context parallelism or the trainer.

    Each sequence is cut into 2 * CP equal slices, of which every rank takes two (Transformer Engine's load balancing),
    so its length must be a multiple of 2 * CP.
    """
    ranks, asked = config.model.get("context_parallel_size"), config.dataset.get("pad_seq_to_mult")
    padded_to = data.pad_to_multiple
    if isinstance(ranks, int) and ranks > 1 and padded_to % (2 * ranks):
        yield Problem(
            f"model.context_parallel_size={ranks} needs sequences padded to a multiple of {2 * ranks}, but "
            f"{data.reference} has pad_to_multiple={padded_to}.",
            f"Prepare the data with pad_to_multiple={2 * ranks}, or set model.context_parallel_size=1.",
        )
    if isinstance(asked, int) and asked > 0 and padded_to % asked:
        yield Problem(
            f"dataset.pad_seq_to_mult is {asked}, but {data.reference} has pad_to_multiple={padded_to}.",
            "Remove dataset.pad_seq_to_mult; it follows from the data.",
        )


def check_sample_unit(config: SftConfig, data: PreparedData) -> Iterator[Problem]:
    """Yield a problem if samples are conversations, but the data does not record them."""
    if config.loss.sample_unit == "conversation" and data.has_conversation_targets is False:
        yield Problem(
            f"loss.sample_unit is conversation, but {data.whence} lacks the column {CONVERSATION_TARGETS}.",
            "Prepare the data again (nemotron super3 data prep sft), or leave loss.sample_unit at sequence.",
        )


def check_tokenizer(config: SftConfig, data: PreparedData, start: StartingPoint) -> Iterator[Problem]:
    """Yield a problem if data, training and model have different tokenizers.

    Training needs the data's tokenizer for its eos id. Two tokenizers are the same if they are at the same place, have
    equal digests, or give every token the same id.
    """
    made_with, asked = data.tokenizer, config.tokenizer.get("tokenizer_model")
    if made_with is None:
        if not asked and data.packs:  # without packs, the data is not made yet
            yield Problem(
                f"{data.reference} does not record its tokenizer.",
                "Set tokenizer.tokenizer_model to the tokenizer that it was made with.",
            )
        return
    if asked and not _is_same_place(asked, made_with.model) and not _is_same(asked, made_with, sure=True):
        yield Problem(
            f"tokenizer.tokenizer_model is {asked}, but {data.reference} was made with {made_with.model}.",
            "Remove tokenizer.tokenizer_model, or prepare the data with that tokenizer.",
        )
    for own in (config.recipe.hf_model, start.tokenizer):
        if own and not _is_same_place(own, made_with.model) and not _is_same(own, made_with, sure=False):
            yield Problem(
                f"{data.reference} was made with the tokenizer {made_with.model}, which is not that of the model "
                f"{own}, so tokens have other ids.",
                f"Prepare the data with the model's tokenizer: tokenizer.model={own}",
            )


def _is_same(folder: str, recorded: DataTokenizer, *, sure: bool) -> bool:
    """Tell whether the tokenizer in `folder` is the recorded one.

    Args:
        folder: A folder with a tokenizer.
        recorded: The tokenizer of the data.
        sure: What to assume if `folder` has no tokenizer to compare with, or the data has no digest: False takes them
            for the same, True for different.
    """
    if not (Path(folder) / "tokenizer.json").is_file() or recorded.digest is None:
        return not sure
    from nemotron.data_prep.config import TokenizerConfig
    from nemotron.data_prep.tokenizer.files import read_definition, read_ids
    from nemotron.data_prep.tokenizer.load import load_tokenizer

    ours = load_tokenizer(TokenizerConfig(model=folder))
    if ours.digest == recorded.digest:
        return True
    if (ours.vocab_size, ours.eos_id) != (recorded.vocab_size, recorded.eos_id):
        return False
    # A rewritten file may differ although its tokens do not. Without the other file, only sizes can be compared.
    theirs = Path(recorded.model)
    if not (theirs / "tokenizer.json").is_file():
        return not sure
    return read_ids(read_definition(theirs)) == read_ids(ours.definition)


def _is_same_place(one: str, other: str) -> bool:
    return one == other or Path(one).resolve() == Path(other).resolve()
