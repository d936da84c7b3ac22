"""Refuse data that does not fit: padding, tokenizer, vocabulary.

Here a vocabulary mismatch is refused.
"""

from collections.abc import Iterator
from pathlib import Path

from nemotron.errors import Problem
from nemotron.training.checkpoints.initial_weights import StartingPoint
from nemotron.training.config import SftConfig
from nemotron.training.objective.conversation_targets import CONVERSATION_TARGETS
from nemotron.training.prepared_data import DataTokenizer, PreparedData

LARGEST_PADDING = 1024
"""Embeddings are padded to a round number of rows. A model with so many more rows has another tokenizer."""


def check_padding(config: SftConfig, data: PreparedData) -> Iterator[Problem]:
    """Yield a problem when padding does not fit context parallelism or the trainer.

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


def check_sample_unit(config: SftConfig, data: PreparedData) -> Iterator[Problem]:
    """Yield a problem when the data does not tell which sequences are of one.

    Conversations are to be counted.
    """
    if config.loss.sample_unit == "conversation" and data.has_conversation_targets is False:
        yield Problem(
            f"loss.sample_unit is conversation, but {data.whence} lacks the column {CONVERSATION_TARGETS}.",
            "Prepare the data again (nemotron super3 data prep sft), or leave loss.sample_unit at sequence.",
        )


def check_vocabulary(data: PreparedData, model_vocab_size: int | None, model: str) -> Iterator[Problem]:
    """Yield a problem when data and model have vocabularies of different sizes.

    A model may have a few embeddings more (`LARGEST_PADDING`).

    Args:
        model_vocab_size: rows of the model's embeddings; None where it is not known.
        model: for the message.
    """
    tokenizer = data.tokenizer
    if model_vocab_size is None or tokenizer is None or tokenizer.vocab_size is None:
        return
    if not 0 <= model_vocab_size - tokenizer.vocab_size < LARGEST_PADDING:
        yield Problem(
            f"{data.reference} was made with the tokenizer {tokenizer.model} of {tokenizer.vocab_size:,} tokens, but "
            f"the model {model} has {model_vocab_size:,}.",
            "Prepare the data with the model's own tokenizer (tokenizer.model), or train the model that it was made "
            "for.",
        )


def check_tokenizer(config: SftConfig, data: PreparedData, start: StartingPoint) -> Iterator[Problem]:
    """Yield a problem when data, training and model have different tokenizers.

    Training needs the data's tokenizer for its eos id. Two are the same when they are in one place, when their digests
    are equal, or when every token has the same id.
    """
    made_with, asked = data.tokenizer, config.tokenizer.get("tokenizer_model")
    if made_with is None:
        if not asked and data.packs:  # else it is still to be made
            yield Problem(
                f"{data.reference} does not record its tokenizer.",
                "Set tokenizer.tokenizer_model to the one it was made with.",
            )
        return
    if asked and not _is_same_place(asked, made_with.model) and not _is_same(asked, made_with, sure=True):
        yield Problem(
            f"tokenizer.tokenizer_model is {asked}, but {data.reference} was made with {made_with.model}.",
            "Leave tokenizer.tokenizer_model out, or prepare the data with it.",
        )
    for own in (config.recipe.hf_model, start.tokenizer):
        if own and not _is_same_place(own, made_with.model) and not _is_same(own, made_with, sure=False):
            yield Problem(
                f"{data.reference} was made with the tokenizer {made_with.model}, which is not that of the model "
                f"{own}: its tokens have other ids there.",
                f"Prepare the data with the model's tokenizer: tokenizer.model={own}",
            )


def _is_same(folder: str, recorded: DataTokenizer, *, sure: bool) -> bool:
    """Tell whether the tokenizer in `folder` is the recorded one.

    Args:
        sure: False takes them for the same where `folder` holds no tokenizer to compare with, or the data records no
            digest; True takes them for different.
    """
    if not (Path(folder) / "tokenizer.json").is_file() or recorded.digest is None:
        return not sure
    from nemotron.data_prep.config import TokenizerConfig
    from nemotron.data_prep.tokenization.tokenizer import load_tokenizer
    from nemotron.data_prep.tokenization.tokenizer_files import read_ids

    ours = load_tokenizer(TokenizerConfig(model=folder))
    if ours.digest == recorded.digest:
        return True
    if (ours.vocab_size, ours.eos_id) != (recorded.vocab_size, recorded.eos_id):
        return False
    # A file that was written again differs though its tokens do not. Without the other file, sizes have to do.
    theirs = Path(recorded.model)
    return read_ids(theirs) == read_ids(Path(folder)) if (theirs / "tokenizer.json").is_file() else not sure


def _is_same_place(one: str, other: str) -> bool:
    return one == other or Path(one).resolve() == Path(other).resolve()
