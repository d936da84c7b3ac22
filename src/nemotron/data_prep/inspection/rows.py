"""Show what happens to each row of a file: its chunks, which train, their tokens.

This uses the pipeline's own functions for admission, chunking and masking, so it shows exactly what data prep does.
Outcomes that depend on other rows (duplicates, samples, blend shares) are left out.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from nemotron.data_prep.chat.chunks import Chunk, sequences
from nemotron.data_prep.chat.content_hash import content_hash
from nemotron.data_prep.chat.conversation import Conversation
from nemotron.data_prep.chat.special_tokens import apply_policy, remove_marks
from nemotron.data_prep.chat.template import RenderOptions, Template
from nemotron.data_prep.config import OverlongPolicy, SpecialTokensPolicy
from nemotron.data_prep.dialects.admission import Admission
from nemotron.data_prep.drop_reasons import LeftOut, RowError
from nemotron.data_prep.inspection.pieces import show_pieces
from nemotron.data_prep.inspection.wanted import ALL, Wanted
from nemotron.data_prep.reasoning_modes.choice import ReasoningControl, Steered, steer
from nemotron.data_prep.reasoning_modes.row import read_own_mode
from nemotron.data_prep.sources import Row, cut, find_files, read_rows
from nemotron.data_prep.sources.blend import Dataset
from nemotron.data_prep.tokenization.loss_mask import loss_mask
from nemotron.data_prep.tokenization.safe_encoding import encode_safely, failures_cost_their_row
from nemotron.data_prep.tokenizer.token_borders import DefinedBorders
from nemotron.data_prep.tokenizer.tokenizer import Tokenizer
from nemotron.errors import UserError, did_you_mean


@dataclass(frozen=True)
class Rules:
    """Settings that decide what happens to a row."""

    admission: Admission = Admission()  # noqa: RUF009 (frozen)
    special_tokens: SpecialTokensPolicy = "keep"
    limit: int | None = None
    """The longest sequence that fits, in tokens; None means no limit."""
    overlong: OverlongPolicy = "split_turns"
    control: ReasoningControl = ReasoningControl()  # noqa: RUF009 (frozen)
    """The reasoning settings of the rows, without those of their dataset in a blend."""


def inspect_file(
    path: str | Path,
    template: Template,
    tokenizer: Tokenizer | None = None,
    rules: Rules = Rules(),
    wanted: Wanted = ALL,
    *,
    pieces: bool = False,
    **options: Unpack[RenderOptions],
) -> Iterator[dict[str, Any]]:
    """Yield one object per row of an input, in order, without blank lines.

    The input may be anything that a blend accepts, including remote files.

        {"line": 1, "outcome": "kept" | "dropped", "reason": None | "bad_role", "detail": None | "message 0: ...",
         "special_token": None | "<|im_end|>", "notes": [{"kind", "name"}, ...], "sequences": [[chunk, ...], ...]}

    Each chunk is `{"role", "text", "supervised", "tokens", "supervised_tokens"}`, with the number of its tokens and of
    those that the loss mask trains. Both are None without a tokenizer, and special tokens and lengths are not checked
    then. `line` counts from 1. `detail` names the value at fault, or for a kept row what over-long sequences lose.
    `notes` lists what parsing noticed without dropping the row; `mode` is its reasoning mode, and `mode_reason` says
    why.

    Args:
        path: Chat data.
        template: Renders it.
        tokenizer: Counts tokens.
        rules: The settings that decide what happens to a row.
        wanted: Which rows to inspect.
        pieces: Whether chunks also list their tokens, as `pieces`: [id, text] each.
        options: Those of `Template.render`.

    Raises:
        UserError: The file does not exist or cannot be read.
    """
    if "://" not in str(path):
        _ensure_file(Path(path))
    return inspect_dataset(Dataset(str(path), str(path)), template, tokenizer, rules, wanted, pieces=pieces, **options)


def inspect_dataset(
    dataset: Dataset,
    template: Template,
    tokenizer: Tokenizer | None,
    rules: Rules,
    wanted: Wanted = ALL,
    *,
    pieces: bool = False,
    **options: Unpack[RenderOptions],
) -> Iterator[dict[str, Any]]:
    """Yield the same objects for a dataset of a blend."""
    for line, row in _rows(dataset):
        if wanted.wants_row(line, row):
            yield _inspect_row(line, row, template, tokenizer, rules, options, pieces)


def _ensure_file(path: Path) -> None:
    if not path.is_file() and not path.is_dir():
        siblings = [str(other) for other in path.parent.glob("*") if other.is_file()]
        problem = "is not a file" if path.exists() else "does not exist"
        raise UserError(
            f"{path} {problem}.", did_you_mean(str(path), siblings) or "Give the path of a file of chat data."
        )


def _rows(dataset: Dataset) -> Iterator[tuple[int, Row]]:
    """Yield the rows with their line numbers, from 1.

    Numbers continue from one file to the next in a folder or dataset.
    """
    line = 0
    for file in find_files(dataset):
        for part in cut(file):
            for row in read_rows(part):
                line += 1
                if not row.is_blank:
                    yield line, row


def _inspect_row(
    line: int,
    row: Row,
    template: Template,
    tokenizer: Tokenizer | None,
    rules: Rules,
    options: RenderOptions,
    pieces: bool,
) -> dict[str, Any]:
    shown: dict[str, Any] = {"line": line, "outcome": "kept", "reason": None, "detail": None, "special_token": None}
    shown |= {"notes": [], "mode": None, "mode_reason": None}
    try:
        conversation = rules.admission.conversation(row)
        shown["notes"] = [note._asdict() for note in conversation.notes]
        if tokenizer is not None:
            special = tokenizer.special_tokens
            shown["special_token"] = token = special.first_in(conversation)
            conversation = apply_policy(conversation, token, special, rules.special_tokens)
            steered = _steer(row, conversation, tokenizer, rules)
            conversation = steered.conversation
            options = options.copy()
            options.update(steered.options)
            shown |= {"mode": steered.mode.value, "mode_reason": steered.why}
        described = [_describe(chunks, tokenizer, pieces) for chunks in sequences(conversation, template, **options)]
        if tokenizer is not None:
            shown["detail"] = _ensure_trained_and_fitting(described, rules)
    except RowError as error:
        return shown | {"outcome": "dropped", "reason": error.reason.value, "detail": error.detail, "sequences": []}
    return shown | {"sequences": described}


def _steer(row: Row, conversation: Conversation, tokenizer: Tokenizer, rules: Rules) -> Steered:
    """Choose the reasoning mode of a row's conversation, as data prep does."""
    budget = rules.control.budget
    borders = DefinedBorders(tokenizer.definition, budget.cut) if budget else None
    whole = content_hash(rules.admission.conversation(row))
    with failures_cost_their_row():
        return steer(conversation, whole, read_own_mode(row.value), rules.control, borders)


def _ensure_trained_and_fitting(described: list[list[dict[str, Any]]], rules: Rules) -> str | None:
    """Describe what the length limit cuts from a row; None means nothing.

    Raises:
        RowError: It cuts everything, or nothing trains.
    """
    if not any(chunk["supervised_tokens"] for chunks in described for chunk in chunks):
        raise RowError(LeftOut.NO_ASSISTANT_TOKENS, "no token of an assistant's turn would be trained")
    longest = max(sum(chunk["tokens"] for chunk in chunks) for chunks in described)
    if rules.limit is None or longest <= rules.limit:
        return None
    too_long = f"a sequence has {longest:,} tokens, over the limit of {rules.limit:,}"
    if rules.overlong == "drop":
        raise RowError(LeftOut.OVERLONG, too_long)
    if rules.overlong == "truncate":
        return f"{too_long}: it is cut there"
    if not any(_first_answer_ends(chunks) <= rules.limit for chunks in described):
        raise RowError(LeftOut.OVERLONG, f"{too_long}, and not even its first answer ends before")
    return f"{too_long}: it is cut after the last answer that ends before"


def _first_answer_ends(chunks: list[dict[str, Any]]) -> float:
    """Return the number of tokens up to the last trained token of the first answer."""
    end = 0
    for chunk in chunks:
        if chunk["supervised_tokens"]:
            return end + chunk["supervised_tokens"]
        end += chunk["tokens"]
    return float("inf")


def _describe(chunks: list[Chunk], tokenizer: Tokenizer | None, pieces: bool) -> list[dict[str, Any]]:
    ids, ends = np.zeros(0, np.int32), np.zeros(0, np.int64)
    tokens: list[int | None] = [None] * len(chunks)
    trained: list[int | None] = [None] * len(chunks)
    if tokenizer is not None:
        texts = [chunk.text for chunk in chunks]
        ids, lengths = encode_safely(texts, [len(texts)], tokenizer, may_be_cut=True)
        supervised = np.array([chunk.supervised for chunk in chunks])
        mask = loss_mask(ids, lengths, supervised, tokenizer.end_id)
        ends = np.cumsum(lengths)
        tokens = lengths.tolist()
        trained = [int(mask[end - length : end].sum()) for length, end in zip(lengths, ends, strict=True)]
    described = [
        {**chunk._asdict(), "text": remove_marks(chunk.text), "tokens": count, "supervised_tokens": trained_count}
        for chunk, count, trained_count in zip(chunks, tokens, trained, strict=True)
    ]
    if tokenizer is not None and pieces:
        for chunk, own in zip(described, np.split(ids, ends[:-1]), strict=True):
            chunk["pieces"] = show_pieces(tokenizer, own.tolist())
    return described
