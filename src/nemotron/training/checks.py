"""Refusing data that the model cannot be trained on, and a starting checkpoint that is another model's."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nemotron.errors import UserError
from nemotron.paths import expand_home
from nemotron.training.checkpoint import latest_iteration, run_config, tokenizer_of_checkpoint
from nemotron.training.config import SftConfig
from nemotron.training.hf_weights import is_hf_folder
from nemotron.training.prepared import PreparedData

LARGEST_PADDING = 1024
"""Embeddings are padded to a round number of rows. A model with so many more rows has another tokenizer."""

_ARCHITECTURE = (
    *("hidden_size", "num_layers", "hybrid_layer_pattern", "num_attention_heads", "num_query_groups", "vocab_size"),
    *("ffn_hidden_size", "num_moe_experts", "moe_ffn_hidden_size", "moe_shared_expert_intermediate_size"),
    *("moe_latent_size", "mamba_num_heads", "mamba_head_dim", "mamba_state_dim", "mamba_num_groups"),
)
"""Fields of Megatron-Bridge's model config that decide the shapes of the weights and their number."""


def model_config(hf_model: str) -> dict[str, Any] | None:
    """The config.json of `recipe.hf_model` where it is a folder; None for an id, whose config may need a network."""
    file = Path(hf_model) / "config.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


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


def check_model_folder(hf_model: str, *, here: bool = True) -> None:
    """Refuse a path that holds no model config; a Hugging Face id is left to the hub.

    Args:
        here: whether this machine is the one that trains.

    Raises:
        UserError: as said.
    """
    path = expand_home(hf_model)
    if not is_path(hf_model) or (path / "config.json").is_file() or not (here or path.exists()):
        return
    raise UserError(
        f"recipe.hf_model is {hf_model}, which {'has no config.json' if path.is_dir() else 'does not exist'}.",
        "Name a folder with the model's config.json, or a Hugging Face id.",
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


def is_path(name: str) -> bool:
    """Whether this is meant as a folder rather than as a Hugging Face id."""
    return name.startswith(("/", "./", "../", "~")) or Path(name).exists()


def _same_tokenizer(folder: str, recorded: Mapping[str, Any], *, sure: bool) -> bool:
    """Whether the tokenizer in `folder` is the recorded one.

    Args:
        recorded: of the data: model, digest, vocab_size, eos_id.
        sure: what to say when `folder` holds no tokenizer to compare with, or the data records none.
    """
    if not (expand_home(folder) / "tokenizer.json").is_file() or "digest" not in recorded:
        return not sure
    from nemotron.data_prep.config import TokenizerConfig
    from nemotron.data_prep.tokens import load_tokenizer

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


def check_padding(config: SftConfig, data: PreparedData) -> None:
    """Refuse data that context-parallel ranks cannot share, and tell the trainer's padding from the data's.

    Each conversation is cut into 2 * CP equal slices, of which every rank takes two (Transformer Engine's load
    balancing), so its length must be a multiple of 2 * CP.

    Raises:
        UserError: naming the multiple that is needed.
    """
    ranks = config.model.get("context_parallel_size") or 1
    padded_to = data.metadata.get("pad_to_multiple") or 1
    if ranks > 1 and padded_to % (2 * ranks):
        raise UserError(
            f"model.context_parallel_size={ranks} needs conversations padded to a multiple of {2 * ranks}, but "
            f"{data.reference} has pad_to_multiple={padded_to}.",
            f"Prepare the data with pad_to_multiple={2 * ranks}, or set model.context_parallel_size=1.",
        )
    asked = config.dataset.get("pad_seq_to_mult")
    if asked is not None and padded_to % asked:
        raise UserError(
            f"dataset.pad_seq_to_mult is {asked}, but {data.reference} has pad_to_multiple={padded_to}.",
            "Leave dataset.pad_seq_to_mult out: it follows from the data.",
        )


def check_same_model(model: Any, iteration_dir: Path) -> None:
    """Refuse a starting checkpoint whose weights have other shapes than the model's.

    Args:
        model: Megatron-Bridge's config of the model that is going to be built.
        iteration_dir: the checkpoint's `iter_*` folder.

    Raises:
        UserError: naming the first setting that differs, with both values.
    """
    saved = run_config(iteration_dir).get("model") or {}
    for name in _ARCHITECTURE:
        if name not in saved or not hasattr(model, name):
            continue
        theirs, ours = _main_layers(saved[name]), _main_layers(getattr(model, name))
        if theirs != ours:
            raise UserError(
                f"The checkpoint {iteration_dir} is of another model: its {name} is {theirs}, and {ours} here.",
                "Name the checkpoint of this model, or set recipe.hf_model to the model that it is of.",
            )


def _main_layers(value: Any) -> Any:
    """Of a layer pattern, what is the model's alone.

    Pipeline separators (|) depend on the layout, and the MTP layers (behind /) are added only when Megatron builds it.
    """
    return value.replace("|", "").split("/")[0] if isinstance(value, str) else value


def _same_place(one: str, other: str) -> bool:
    return one == other or Path(one).resolve() == Path(other).resolve()
