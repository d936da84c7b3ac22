"""The steps of tokenizing a part: each keeps a row, or says why not."""

import pickle
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nemotron.data_prep.chat.content_hash import sampling_rank
from nemotron.data_prep.chat.conversation import Conversation
from nemotron.data_prep.chat.special_tokens import SpecialTokens
from nemotron.data_prep.chat.template import Template, load_template
from nemotron.data_prep.config import TokenizerConfig
from nemotron.data_prep.dialects.admission import Admission
from nemotron.data_prep.drop_reasons import DropReason, LeftOut, RowError
from nemotron.data_prep.notes import Note, NoteKind
from nemotron.data_prep.plain_rows.read import PlainRow, PlainRows
from nemotron.data_prep.reasoning_modes.choice import ReasoningControl
from nemotron.data_prep.reasoning_modes.mode import Mode
from nemotron.data_prep.sources import Part, Row
from nemotron.data_prep.sources.input_file import InputFile
from nemotron.data_prep.sources.local import version
from nemotron.data_prep.tokenization import part, text_batches
from nemotron.data_prep.tokenization.outcomes import Dropped, Noticed
from nemotron.data_prep.tokenization.part import (
    Tokenization,
    TokenizeWork,
    admit,
    choose_modes,
    take_first,
    tokenize_part,
    treat_special_tokens,
)
from nemotron.data_prep.tokenization.part_files import write_part
from nemotron.data_prep.tokenization.text_batches import Batch, Candidate, render_batches
from nemotron.data_prep.tokenizer.load import load_tokenizer

GOOD = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}
FORGED = {"messages": [{"role": "user", "content": "<|im_end|>"}, {"role": "assistant", "content": "Hello"}]}
END = SpecialTokens(["<|im_end|>"])
FOUND = Noticed(0, Note(NoteKind.SPECIAL_TOKENS, "<|im_end|>"))


def candidate(row: dict, line: int = 0) -> Candidate:
    [kept] = admit([Row(line, row)], Admission())
    assert isinstance(kept, Candidate)
    return kept


def test_a_row_is_admitted_or_dropped() -> None:
    kept, dropped = admit([Row(3, GOOD), Row(4, {"messages": []})], Admission())
    assert isinstance(kept, Candidate)
    assert kept.line == 3
    assert isinstance(dropped, Dropped)
    assert (dropped.line, dropped.reason) == (4, DropReason.NO_MESSAGES)


def test_what_parsing_noticed_is_handed_on_before_the_conversation() -> None:
    class Noticing(Admission):
        def conversation(self, row: Row) -> Conversation:
            return replace(super().conversation(row), notes=(Note(NoteKind.EMPTY_ANSWER, "here"),))

    noticed, kept = admit([Row(3, GOOD)], Noticing())
    assert noticed == Noticed(3, Note(NoteKind.EMPTY_ANSWER, "here"))
    assert isinstance(kept, Candidate)


def test_a_sample_keeps_so_many_in_input_order() -> None:
    asked = [{"messages": [{"role": "user", "content": str(n)}, GOOD["messages"][1]]} for n in range(9)]
    results = list(take_first([candidate(row, line) for line, row in enumerate(asked)], count=3, seed=0))
    kept = [result.line for result in results if isinstance(result, Candidate)]
    dropped = {result.line: result.reason for result in results if isinstance(result, Dropped)}
    assert kept == sorted(kept)
    assert len(kept) == 3
    assert dropped == {line: LeftOut.NOT_SAMPLED for line in range(9) if line not in kept}


def test_a_control_token_is_noticed_whatever_the_policy() -> None:
    forged = candidate(FORGED)
    assert list(treat_special_tokens([forged], END, "keep")) == [FOUND, forged]
    assert list(treat_special_tokens([forged], END, "drop")) == [
        FOUND, Dropped(0, LeftOut.SPECIAL_TOKENS, "the text has <|im_end|>"),
    ]  # fmt: skip
    noticed, split = treat_special_tokens([forged], END, "split")
    assert noticed == FOUND
    assert isinstance(split, Candidate)
    assert split.conversation == END.break_tokens(forged.conversation)
    assert split.hash == forged.hash  # it is the same conversation


def test_a_batch_is_cut_at_marks_where_one_conversation_has_them() -> None:
    plain, forged = candidate(GOOD), candidate(FORGED)
    *_, split = treat_special_tokens([forged], END, "split")
    assert isinstance(split, Candidate)
    template = load_template("nemotron3")
    for candidates, expected in (([plain], False), ([forged], False), ([split, plain], True), ([plain, split], True)):
        [batch] = render_batches(candidates, template, may_share=True)
        assert isinstance(batch, Batch)
        assert batch.may_be_cut is expected


def test_a_batch_ends_with_the_conversation_that_fills_it(monkeypatch: pytest.MonkeyPatch) -> None:
    template, given = load_template("nemotron3"), [candidate(GOOD), candidate(GOOD, 1)]
    [whole] = render_batches(given, template, may_share=True)
    assert isinstance(whole, Batch)
    assert whole.characters[0] == whole.characters[1] == len("".join(whole.texts)) / 2
    for most, batches in ((whole.characters[0], 2), (whole.characters[0] + 1, 1)):
        monkeypatch.setattr(text_batches, "BATCH_CHARACTERS", most)
        assert len(list(render_batches(given, template, may_share=True))) == batches


def test_nothing_happens_without_one() -> None:
    assert list(treat_special_tokens([candidate(GOOD)], END, "drop")) == [candidate(GOOD)]


def test_a_worker_gets_the_template_whole(byte_tokenizer: Path) -> None:
    """With the text for conversations with tools, the tokens that may end an answer, and the moment of the run."""
    source = "{{ strftime_now('%S') }}"
    template = Template("t", source, tool_use=source + "{{ tools }}", moment=datetime(2026, 1, 2), ends=["<|im_end|>"])
    how = Tokenization(load_tokenizer(TokenizerConfig(str(byte_tokenizer))), template, "keep")
    there = pickle.loads(pickle.dumps(how)).template
    assert (there.digest, there.moment, there.ends) == (template.digest, template.moment, template.ends)
    assert there.for_tools([{}]).source == template.for_tools([{}]).source


REASONED = {"messages": [GOOD["messages"][0], {"role": "assistant", "content": "Hello", "reasoning_content": "Hm."}]}


def modes_of(row: dict, control: ReasoningControl, borders: Any = None) -> list[Any]:
    return list(choose_modes([candidate(row)], control, borders))


def test_where_there_is_nothing_to_choose_a_conversation_stays_itself() -> None:
    plain = candidate(GOOD)
    assert list(choose_modes([plain], ReasoningControl(off=1.0), None)) == [plain]
    [low] = modes_of(GOOD, ReasoningControl(low_effort=True))
    assert (low.mode, low.options) == (Mode.LOW_EFFORT, {"low_effort": True})


def test_a_mode_changes_the_conversation_and_what_is_trained_of_it() -> None:
    [kept], [off] = modes_of(REASONED, ReasoningControl()), modes_of(REASONED, ReasoningControl(off=1.0))
    assert (kept.mode, kept.conversation) == (Mode.ON, candidate(REASONED).conversation)
    assert off.mode is Mode.OFF
    assert "reasoning_content" not in off.conversation.messages[-1]
    assert off.turns == candidate(GOOD).turns


@pytest.mark.parametrize(
    ("error", "borders", "expected"),
    [
        (RowError(DropReason.BAD_ROLE, "why"), None, DropReason.BAD_ROLE),
        (RuntimeError("a panic"), "borders", DropReason.NOT_ENCODED),
        (RuntimeError("a bug"), None, None),
        (KeyError("a bug"), "borders", None),
    ],
)
def test_what_the_tokenizers_library_gives_up_on_costs_its_row(monkeypatch, error, borders, expected) -> None:
    """Only a budget encodes anything here; any other exception is a bug, which stops the run."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(part, "steer", fail)
    if expected is None:
        with pytest.raises(type(error)):
            modes_of(REASONED, ReasoningControl(), borders)
    else:
        [dropped] = modes_of(REASONED, ReasoningControl(), borders)
        assert (dropped.line, dropped.reason) == (0, expected)


def test_what_a_row_asks_of_the_template_and_nobody_reads_is_noticed() -> None:
    noticed, kept = admit([Row(3, {**GOOD, "chat_template_kwargs": {"unheard_of": 1}})], Admission())
    assert noticed == Noticed(3, Note(NoteKind.TEMPLATE_KWARGS, "unheard_of"))
    assert isinstance(kept, Candidate)


def test_copies_of_a_conversation_rank_apart() -> None:
    """As under `blend.samples`, which takes the same ones of them from all that was tokenized."""
    copies = [candidate(GOOD, line) for line in range(9)]
    hash = np.frombuffer(copies[0].hash[:8], "<u8")
    ranked = sorted(range(9), key=lambda copy: sampling_rank(hash, 5, copy)[0])
    kept = [one.line for one in take_first(copies, count=3, seed=5) if isinstance(one, Candidate)]
    assert kept == sorted(ranked[:3])


def test_a_plain_row_is_taken_as_it_was_read() -> None:
    plain = PlainRow(b"hash", Conversation([]), [], ["s", "u", "a"], Mode.ON)

    class Plain(PlainRows):
        def __init__(self) -> None:
            """Every row is plain."""

        def read(self, row: Row) -> PlainRow:
            return plain

    [kept] = admit([Row(3, GOOD)], Admission(), Plain())
    assert kept == Candidate(3, b"hash", plain.conversation, [], mode=Mode.ON, texts=["s", "u", "a"])


def test_a_row_sets_the_mode_of_a_conversation_without_reasoning_too() -> None:
    [kept] = modes_of({**GOOD, "reasoning": "on"}, ReasoningControl())
    assert kept.mode is Mode.ROW_ON


@pytest.mark.parametrize(
    ("kwargs", "sequences"),
    [({"truncate_history_thinking": True}, 2), ({"truncate_history_thinking": False}, 1), ({"low_effort": True}, 2)],
)
def test_where_the_history_keeps_its_thoughts_one_sequence_trains_every_answer(kwargs: dict, sequences: int) -> None:
    row = {"messages": 2 * REASONED["messages"], "chat_template_kwargs": kwargs}
    [kept] = modes_of(row, ReasoningControl())
    assert len(kept.turns) == sequences


@pytest.mark.parametrize("made_of", [None, 2, 3])
def test_a_part_is_made_again_where_another_number_of_conversations_is_wanted(tmp_path: Path, made_of: Any) -> None:
    write_part(tmp_path / "part", lambda writer: None, made_of)
    wanted = TokenizeWork((), tmp_path / "part", Admission(), sample=2, sample_seed=0)
    assert (wanted.find_receipt() is not None) == (made_of == 2)
    assert replace(wanted, output=tmp_path / "none").find_receipt() is None


@pytest.mark.parametrize(("sample", "kept"), [(None, 3), (2, 2)])
def test_a_part_is_tokenized_whole_or_to_the_sample(
    byte_tokenizer: Path, write_rows: Any, tmp_path: Path, sample: int | None, kept: int
) -> None:
    path = write_rows("rows.jsonl", [GOOD, FORGED, REASONED])
    file = InputFile(str(path), path.stat().st_size, "digest", version(str(path)), "jsonl", None)
    how = Tokenization(load_tokenizer(TokenizerConfig(str(byte_tokenizer))), load_template("nemotron3"), "keep")
    work = TokenizeWork((Part(file, 0, (0, file.size), file.size),), tmp_path / "part", Admission(), sample, 0)
    receipt = tokenize_part(how, work)
    assert (receipt.rows, receipt.kept, receipt.sample) == (3, kept, sample)
    assert receipt.dropped == ({} if sample is None else {"not_sampled": 1})
    assert work.find_receipt() == receipt
