"""What of an encoded batch is kept."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nemotron.data_prep.chat.template import Template, load_template
from nemotron.data_prep.config import TokenizerConfig
from nemotron.data_prep.dialects.admission import Admission
from nemotron.data_prep.drop_reasons import DropReason, LeftOut, RowError
from nemotron.data_prep.notes import NoteKind
from nemotron.data_prep.sources import Row
from nemotron.data_prep.token_roles.ones import Ones
from nemotron.data_prep.tokenization import encoded_batches
from nemotron.data_prep.tokenization.encoded_batches import EncodedBatch, _find_targets, encode_batches
from nemotron.data_prep.tokenization.part import Tokenization, admit
from nemotron.data_prep.tokenization.text_batches import Candidate, render_batches
from nemotron.data_prep.tokenizer.load import load_tokenizer

TEMPLATE = Template("t", "{% for message in messages %}{{ message.content }}<|im_end|>{% endfor %}")


def encode(
    byte_tokenizer: Path, *answers: str, template: Template = TEMPLATE, **ids: int
) -> tuple[list[Any], EncodedBatch]:
    """What is said of conversations with these answers to a "Hi", and what is kept of them."""
    chats = [[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": answer}] for answer in answers]
    return encode_chats(byte_tokenizer, chats, template, **ids)


def encode_chats(
    byte_tokenizer: Path, chats: list[list[dict[str, str]]], template: Template, **ids: int
) -> tuple[list[Any], EncodedBatch]:
    """What is said of conversations, and what is kept of them."""
    tokenizer = replace(load_tokenizer(TokenizerConfig(str(byte_tokenizer))), **ids)
    rows = [Row(line, {"messages": messages}) for line, messages in enumerate(chats)]
    candidates = [one for one in admit(rows, Admission()) if isinstance(one, Candidate)]
    marks = Tokenization(tokenizer, template, "keep").marks
    *said, batch = encode_batches(render_batches(candidates, template, may_share=True), tokenizer, marks)
    assert isinstance(batch, EncodedBatch)
    return said, batch


def test_a_sequence_in_which_nothing_trains_leaves_no_token_behind(byte_tokenizer: Path) -> None:
    """The end of an empty answer follows the end of the question, and what follows an end is not trained."""
    _, alone = encode(byte_tokenizer, "Hello")
    [dropped], beside = encode(byte_tokenizer, "", "Hello")
    assert (dropped.line, dropped.reason) == (0, LeftOut.NO_ASSISTANT_TOKENS)
    assert beside.conversations.lines.tolist() == [1]
    assert (beside.ids.tolist(), beside.mask.tolist()) == (alone.ids.tolist(), alone.mask.tolist())


def test_a_batch_in_which_everything_trains_stays_as_it_is(byte_tokenizer: Path) -> None:
    (_, one), (said, two) = encode(byte_tokenizer, "Hello"), encode(byte_tokenizer, "Hello", "Hello")
    assert said == []
    assert two.conversations.lines.tolist() == [0, 1]
    assert (two.ids.tolist(), two.mask.tolist()) == (2 * one.ids.tolist(), 2 * one.mask.tolist())


def test_an_answer_trains_up_to_its_end_whatever_the_eos_of_the_tokenizer(byte_tokenizer: Path) -> None:
    """The line break after <|im_end|> does not."""
    lines = Template("t", "{% for message in messages %}{{ message.content }}<|im_end|>\n{% endfor %}")
    for eos_id in (1, 2):
        _, batch = encode(byte_tokenizer, "Hello", template=lines, eos_id=eos_id)
        assert batch.mask.tolist() == 4 * [0] + len("Hello.") * [1] + [0]


def test_an_empty_piece_begins_nothing() -> None:
    """The first token of a sequence is no target, and a piece without tokens has no first one."""
    ids, mask = np.array([1, 2, 3, 4], np.int32), np.ones(4, np.uint8)
    targets = _find_targets(ids, mask, np.array([3, 1, 0]), eos_id=9)
    assert targets.before(np.array([1, 3, 4])).tolist() == [0, 2, 2]


def test_a_last_sequence_without_a_trained_turn_is_left_out_like_any_other(byte_tokenizer: Path) -> None:
    _, alone = encode(byte_tokenizer, "Hello")
    [dropped], beside = encode(byte_tokenizer, "Hello", "")
    assert (dropped.line, dropped.reason) == (1, LeftOut.NO_ASSISTANT_TOKENS)
    assert (beside.ids.tolist(), beside.mask.tolist()) == (alone.ids.tolist(), alone.mask.tolist())


@pytest.mark.parametrize(("second", "noticed"), [("", True), ("Yes", False)])
def test_an_empty_answer_is_noticed_after_another_one(byte_tokenizer: Path, second: str, noticed: bool) -> None:
    """Each turn is measured from the end of the one before it."""
    lines = Template("t", "{% for message in messages %}{{ message.content }}|<|im_end|>{% endfor %}")
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    turns += [{"role": "user", "content": "And?"}, {"role": "assistant", "content": second}]
    said, _ = encode_chats(byte_tokenizer, [turns], lines)
    assert [one.note.kind for one in said] == [NoteKind.EMPTY_ANSWER] * noticed


def test_a_text_that_cannot_be_encoded_costs_its_own_conversation(
    byte_tokenizer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a batch has the history of conversations only once."""
    encode_safely = encoded_batches.encode_safely

    def fail(texts: list[str], *arguments: Any, **options: Any) -> Any:
        if any("XXXX" in text for text in texts):
            raise RowError(DropReason.NOT_ENCODED, "why")
        return encode_safely(texts, *arguments, **options)

    def ask(*answers: str) -> list[dict[str, str]]:
        turns = [("Hm?", {"content": answer, "reasoning_content": "Let me see."}) for answer in answers]
        return [
            m for text, answer in turns for m in ({"role": "user", "content": text}, {"role": "assistant"} | answer)
        ]

    template = load_template("nemotron3")
    good = [ask("One.", "Two."), ask("Three.", "Four.", "Five."), ask("Six.")]
    _, alone = encode_chats(byte_tokenizer, good, template)
    monkeypatch.setattr(encoded_batches, "encode_safely", fail)
    [dropped], beside = encode_chats(byte_tokenizer, [good[0], ask("One.", "XXXX"), *good[1:]], template)
    assert (dropped.line, dropped.reason, dropped.detail) == (1, DropReason.NOT_ENCODED, "why")
    assert beside.conversations.lines.tolist() == [0, 2, 3]
    assert (beside.ids.tolist(), beside.mask.tolist()) == (alone.ids.tolist(), alone.mask.tolist())


def test_a_turn_ends_with_its_sequence_although_the_next_one_begins_trained(byte_tokenizer: Path) -> None:
    """A template may write nothing before an answer."""
    answer = [{"role": "assistant", "content": "Hello"}]
    _, batch = encode_chats(byte_tokenizer, [answer, answer], TEMPLATE)
    assert batch.conversations.turn_counts.tolist() == [1, 1]
    assert batch.conversations.turn_ends.tolist() == [6, 6]


def test_a_turn_may_end_with_its_sequence_and_the_last_sequence_may_have_none() -> None:
    pieces = encoded_batches._Pieces(np.array([True, False, True, False]), np.array([0, 4, 0, 3]), np.array([0, 0]))
    mask = np.array([0, 1, 1, 1, 0, 0, 0], np.uint8)
    measured = encoded_batches._measure(mask, pieces, Ones(mask))
    assert [array.tolist() for array in measured] == [[4, 3], [3, 0], [1, 0], [4], [3]]
    assert encoded_batches._have_empty_answers(np.array([1, 1]), measured).tolist() == [False, False]
