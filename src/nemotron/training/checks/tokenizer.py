"""Refuse data that was prepared with another tokenizer than the model's."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nemotron.errors import UserError
from nemotron.paths import expand_home
from nemotron.training.checkpoints.hf_folder import is_hf_folder, is_path
from nemotron.training.checkpoints.reader import latest_iteration, tokenizer_of_checkpoint
from nemotron.training.config import SftConfig
from nemotron.training.prepared_data import PreparedData

LARGEST_PADDING = 1024
"""Embeddings are padded to a round number of rows. A model with so many more rows has another tokenizer."""


def check_vocabulary(data: PreparedData, model_vocab_size: int, model: str) -> None:
    """Refuse data whose token ids are not this model's.

    Raises:
        UserError: more ids than the model has embeddings, or so few that it was made with another tokenizer.
    """
    vocab_size = data.metadata.get("vocab_size")
    if vocab_size is None or 0 <= model_vocab_size - vocab_size < LARGEST_PADDING:
        return
    tokenizer = data.metadata.get("tokenizer")
    name = tokenizer.get("model") if isinstance(tokenizer, dict) else tokenizer
    raise UserError(
        f"{data.reference} was made with the tokenizer {name} of {vocab_size:,} tokens, but the model {model} has "
        f"{model_vocab_size:,}.",
        "Prepare the data with the model's own tokenizer (tokenizer.model), or train the model that it was made for.",
    )


def check_tokenizer(config: SftConfig, data: PreparedData, start: Path | None = None, *, here: bool = True) -> None:
    """Refuse data that was prepared with another tokenizer than training uses, or than the model's own.

    Training needs the data's tokenizer for its eos id. Two are the same when they are in one place, when their digests
    are equal, or when every token has the same id.

    Args:
        start: the checkpoint or Hugging Face folder whose weights training starts from.
        here: whether this machine is the one that trains, so that folders must be here.

    Raises:
        UserError: naming both, or the folder that is gone.
    """
    recorded = data.metadata.get("tokenizer")
    recorded = recorded if isinstance(recorded, dict) else {"model": recorded}
    made_with, asked = recorded.get("model"), config.tokenizer.get("tokenizer_model")
    used = asked or made_with
    if used and here and is_path(used) and not expand_home(used).exists():
        what = "tokenizer.tokenizer_model is" if asked else f"{data.reference} was made with the tokenizer"
        raise UserError(
            f"{what} {used}, which does not exist.",
            "Put it back, or name a copy of it: tokenizer.tokenizer_model=FOLDER",
        )
    if asked and made_with and not _same_place(asked, made_with) and not _same_tokenizer(asked, recorded, sure=True):
        raise UserError(
            f"tokenizer.tokenizer_model is {asked}, but {data.reference} was made with {made_with}.",
            "Leave tokenizer.tokenizer_model out, or prepare the data with it.",
        )
    for own in (config.recipe.hf_model, _tokenizer_of_start(start)):
        if own and made_with and not _same_place(own, made_with) and not _same_tokenizer(own, recorded, sure=False):
            raise UserError(
                f"{data.reference} was made with the tokenizer {made_with}, which is not that of the model {own}: its "
                "tokens have other ids there.",
                f"Prepare the data with the model's tokenizer: tokenizer.model={own}",
            )


def _tokenizer_of_start(start: Path | None) -> str | None:
    """The tokenizer that a checkpoint was trained with, or that lies in a Hugging Face folder; None where it is not
    known."""
    if start is None or not start.exists():
        return None
    return str(start) if is_hf_folder(start) else tokenizer_of_checkpoint(latest_iteration(start))


def _same_tokenizer(folder: str, recorded: Mapping[str, Any], *, sure: bool) -> bool:
    """Whether the tokenizer in `folder` is the recorded one.

    Args:
        recorded: of the data: model, digest, vocab_size, eos_id.
        sure: what to say when `folder` holds no tokenizer to compare with, or the data records none.
    """
    if not (expand_home(folder) / "tokenizer.json").is_file() or "digest" not in recorded:
        return not sure
    from nemotron.data_prep.config import TokenizerConfig
    from nemotron.data_prep.tokenization.tokenizer import load_tokenizer

    ours = load_tokenizer(TokenizerConfig(model=folder))
    if ours.digest == recorded["digest"]:
        return True
    if (ours.vocab_size, ours.eos_id) != (recorded.get("vocab_size"), recorded.get("eos_id")):
        return False
    theirs = expand_home(str(recorded["model"])) / "tokenizer.json"
    # A file that was written anew differs though its tokens do not. Without the other file, sizes have to do.
    return not sure if not theirs.is_file() else _ids(expand_home(folder) / "tokenizer.json") == _ids(theirs)


def _ids(file: Path) -> dict[str, int]:
    """Token -> id, added tokens included."""
    described = json.loads(file.read_text(encoding="utf-8"))
    vocabulary = described["model"]["vocab"]
    if isinstance(vocabulary, list):  # of a Unigram model: [token, score] in order
        vocabulary = {token: index for index, (token, _) in enumerate(vocabulary)}
    return {**vocabulary, **{token["content"]: token["id"] for token in described.get("added_tokens", ())}}


def _same_place(one: str, other: str) -> bool:
    return one == other or Path(one).resolve() == Path(other).resolve()
