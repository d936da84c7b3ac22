"""Whose tokens they are, for sequences small enough to read: a token per word."""

from collections.abc import Sequence

import numpy as np

from nemotron.data_prep.token_roles.marks import find_marks
from nemotron.data_prep.token_roles.ones import Ones
from nemotron.data_prep.token_roles.role import ROLES
from nemotron.data_prep.token_roles.stretches import NONE, Stretches, concatenate, find_stretches

MARKS = ["<|im_start|>", "<|im_end|>", "<think>", "</think>", "<tool_call>", "<tool_response>"]
WORDS = [*MARKS, "system", "user", "assistant", "tool", "a", "b", "c", "d"]


def encode(texts: Sequence[str]) -> list[list[int]]:
    split = [text.replace("<|im_start|>", "<|im_start|> ").split() for text in texts]
    return [[WORDS.index(word) if word in WORDS else len(WORDS) for word in words] for words in split]


def roles(*sequences: str, chunks: Sequence[Sequence[tuple[str, str]]] = (), template: str = "") -> list[list[str]]:
    """`role text` of every stretch of sequences: as text, or as chunks of (role, text)."""
    chunks = chunks or [[("user", sequence)] for sequence in sequences]
    pieces = [encode([text for _, text in sequence]) for sequence in chunks]
    ids = np.array([token for sequence in pieces for piece in sequence for token in piece], np.int32)
    marks = find_marks(encode, len(WORDS) + 1, template)
    found = find_stretches(
        ids,
        np.array([sum(map(len, sequence)) for sequence in pieces]),
        np.array([len(piece) for sequence in pieces for piece in sequence]),
        [role for sequence in chunks for role, _ in sequence],
        Ones(np.zeros(len(ids), np.uint8)),
        marks,
    )
    assert found.lengths.sum() == len(ids)
    ends = np.cumsum(found.lengths)
    texts = [
        f"{ROLES[role]}: {' '.join(WORDS[token] for token in ids[end - length : end])}"
        for role, length, end in zip(found.roles, found.lengths, ends, strict=True)
    ]
    sequence_ends = np.cumsum([sum(map(len, sequence)) for sequence in pieces])
    borders = np.searchsorted(found.starts(), sequence_ends[:-1])
    return [list(part) for part in np.split(np.array(texts, object), borders)]


CHATML = "<|im_start|>"


def test_headers_say_who_speaks_whatever_the_chunks_are() -> None:
    said = "<|im_start|> system a <|im_end|> <|im_start|> user b <|im_end|> <|im_start|> assistant c <|im_end|>"
    assert roles(said, template=CHATML) == [
        [
            "system: <|im_start|> system a <|im_end|>",
            "user: <|im_start|> user b <|im_end|>",
            "answer: <|im_start|> assistant c <|im_end|>",
        ]
    ]


def test_an_answer_is_a_thought_and_content_and_calls() -> None:
    said = "<|im_start|> assistant <think> a b </think> c <tool_call> d <|im_end|>"
    assert roles(said, template=CHATML) == [
        [
            "reasoning: <|im_start|> assistant <think> a b </think>",
            "answer: c",
            "tool_calls: <tool_call> d <|im_end|>",
        ]
    ]


def test_an_empty_thought_is_none() -> None:
    assert roles("<|im_start|> assistant <think> </think> a", template=CHATML) == [
        ["answer: <|im_start|> assistant <think> </think> a"]
    ]


def test_a_result_may_stand_in_a_users_turn() -> None:
    said = "<|im_start|> user <tool_response> a <|im_start|> user b c d <tool_response> <|im_start|> tool a"
    assert [stretch.partition(":")[0] for stretch in roles(said, template=CHATML)[0]] == [
        "tool_results", "user", "tool_results",
    ]  # fmt: skip


def test_a_tokenizer_may_have_no_mark_for_results() -> None:
    marks = find_marks(lambda texts: [[*ids, *ids] if ids == [5] else ids for ids in encode(texts)], 15, CHATML)
    ids = np.array(encode(["<|im_start|> user <tool_response> a"])).ravel()
    found = find_stretches(ids, np.array([4]), np.array([4]), ["user"], Ones(np.zeros(4, np.uint8)), marks)
    assert [ROLES[role] for role in found.roles] == ["user"]


def test_of_many_answers_that_are_a_thought_and_calls_none_has_content() -> None:
    said = "<|im_start|> assistant <think> a </think> <tool_call> b"
    found = ["reasoning: <|im_start|> assistant <think> a </think>", "tool_calls: <tool_call> b"]
    assert roles(*[said] * 50, template=CHATML) == [found] * 50


def test_marks_that_a_user_writes_divide_nothing() -> None:
    assert roles("<|im_start|> user a </think> b <tool_call> c", template=CHATML) == [
        ["user: <|im_start|> user a </think> b <tool_call> c"]
    ]


def test_a_thought_that_ends_a_sequence_does_not_reach_into_the_next() -> None:
    found = roles("<|im_start|> assistant <think> a </think>", "b <|im_start|> user c", "", template=CHATML)
    assert found == [
        ["reasoning: <|im_start|> assistant <think> a </think>"],
        ["other: b", "user: <|im_start|> user c"],
        [],
    ]


def test_a_header_that_was_cut_is_nobodys() -> None:
    """An over-long conversation ends anywhere."""
    assert roles("<|im_start|> user a <|im_start|>", template=CHATML) == [
        ["user: <|im_start|> user a", "other: <|im_start|>"]
    ]
    assert roles("<|im_start|> user", template=CHATML) == [["user: <|im_start|> user"]]


def test_without_headers_chunks_say_who_speaks() -> None:
    said = [("system", "c"), ("user", "a b"), ("assistant", "c </think> <tool_call> d"), ("tool", ""), ("tool", "a")]
    assert roles(chunks=[said], template="[INST]") == [
        ["system: c", "user: a b", "reasoning: c </think>", "tool_calls: <tool_call> d", "tool_results: a"]
    ]


def test_a_call_inside_a_thought_is_none() -> None:
    sequence = [("user", "a"), ("assistant", "<tool_call> b </think> c")]
    [found] = roles(chunks=[sequence], template="[INST]")
    assert found == ["user: a", "reasoning: <tool_call> b </think>", "answer: c"]


def test_names_that_begin_alike_are_no_headers() -> None:
    marks = find_marks(lambda texts: [[0] if len(text.split()) == 1 else [0, 1] for text in texts], 2, CHATML)
    assert not marks.has_headers


def stretches(*values: tuple[int, int, int]) -> Stretches:
    """Stretches of (role, length, targets)."""
    return Stretches(*(np.array(column) for column in zip(*values, strict=True)))


def as_lists(found: Stretches) -> list[list[int]]:
    return [array.tolist() for array in found]


def test_the_targets_of_each_stretch_are_counted() -> None:
    ids = np.array(encode(["<|im_start|> user a b", "<|im_start|> assistant c d"])).ravel()
    mask = np.array([0, 0, 0, 1, 0, 0, 1, 1], np.uint8)
    found = find_stretches(ids, np.array([8]), np.array([8]), ["user"], Ones(mask), find_marks(encode, 15, CHATML))
    assert (found.lengths.tolist(), found.targets.tolist()) == ([4, 4], [1, 2])


def test_the_stretches_of_some_tokens_and_of_several_batches() -> None:
    one, other = stretches((0, 2, 0), (4, 3, 3), (1, 1, 0)), stretches((4, 5, 1))
    kept = one.only(np.array([False] * 2 + [True] * 4))
    assert as_lists(kept) == [[4, 1], [3, 1], [3, 0]]
    assert as_lists(concatenate([one, other])) == [[0, 4, 1, 4], [2, 3, 1, 5], [0, 3, 0, 1]]
    assert as_lists(concatenate([])) == as_lists(NONE) == [[], [], []]


def test_a_result_opens_its_turn_and_an_early_mark_of_a_call_is_one() -> None:
    said = (
        "<|im_start|> user a <tool_response> b <|im_start|> user a b <tool_response> <|im_start|> user <tool_response>"
    )
    assert [stretch.partition(":")[0] for stretch in roles(said, template=CHATML)[0]] == [
        "tool_results", "user", "tool_results",
    ]  # fmt: skip
    [found] = roles(chunks=[[("assistant", "<tool_call> a")]], template="[INST]")
    assert found == ["tool_calls: <tool_call> a"]


def test_a_thought_may_be_the_first_token_of_all() -> None:
    [found] = roles(
        chunks=[[("assistant", "</think> a"), ("user", "b"), ("assistant", "</think> c")]], template="[INST]"
    )
    assert found == ["reasoning: </think>", "answer: a", "user: b", "reasoning: </think>", "answer: c"]
