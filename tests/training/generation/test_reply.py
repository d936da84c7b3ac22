"""Thought and answer, budgets and stop tokens, with a model that says what it is given, a letter a token."""

import pytest

from nemotron.errors import UserError
from nemotron.training.generation.reply import Asked, _Flow, reply_to

CLOSE, END = 1, 2
SPECIAL = {CLOSE: "</think>", END: "<|im_end|>"}
MESSAGES = [{"role": "user", "content": "How many?"}]


class Scripted:
    """A speaker whose replies are given; tokens are characters, but for the special ones."""

    stops = frozenset({END})

    def __init__(self, *replies: str, opening: str = "<think>\n") -> None:
        self.replies, self.opening = list(replies), opening
        self.prompts: list[str] = []

    def render(self, messages, **options):
        told = f" [budget {options['reasoning_budget']}]" if "reasoning_budget" in options else ""
        opening = "<think></think>" if options.get("enable_thinking") is False else self.opening
        return messages[-1]["content"] + told + opening

    def encode(self, text):
        for token, name in SPECIAL.items():
            text = text.replace(name, chr(token))
        return [ord(letter) for letter in text]

    def decode(self, ids):
        return "".join(SPECIAL.get(token, chr(token)) for token in ids)

    def token(self, text):
        ids = self.encode(text)
        return ids[0] if len(ids) == 1 else None

    def generate(self, ids, most, stops, on_token):
        self.prompts.append(self.decode(ids))
        said = []
        for token in self.encode(self.replies.pop(0)) if self.replies else []:
            if len(said) == most:
                break
            said.append(token)
            on_token(token)
            if token in stops:
                break
        return said


def test_thought_and_answer_are_told_apart():
    speaker = Scripted("seven\n</think>", "7<|im_end|>")
    reply = reply_to(speaker, MESSAGES, Asked())
    assert (reply.thought, reply.answer, reply.ended, reply.was_closed) == ("seven", "7", "stop", False)
    assert (reply.thought_tokens, reply.answer_tokens) == (6, 1)
    assert speaker.prompts[1] == "How many?<think>\nseven\n</think>"


def test_at_its_budget_a_thought_is_closed_and_the_model_answers():
    speaker = Scripted("seven and more", "7<|im_end|>")
    reply = reply_to(speaker, MESSAGES, Asked(budget=6))
    assert (reply.thought, reply.answer, reply.was_closed) == ("seven", "7", True)
    assert speaker.prompts == [
        "How many? [budget 6]<think>\n",
        "How many? [budget 6]<think>\nseven\n</think>",  # with its newline it has 6 tokens, as data prep counts them
    ]


def test_a_thought_within_its_budget_is_left_alone():
    reply = reply_to(Scripted("7\n</think>", "7<|im_end|>"), MESSAGES, Asked(budget=100))
    assert (reply.thought, reply.answer, reply.was_closed) == ("7", "7", False)


def test_without_thinking_there_is_only_an_answer():
    speaker = Scripted("7<|im_end|>")
    reply = reply_to(speaker, MESSAGES, Asked(thinking="off"))
    assert (reply.thought, reply.answer, reply.thought_tokens) == ("", "7", 0)
    assert speaker.prompts == ["How many?<think></think>"]


def test_a_model_that_ends_its_turn_in_a_thought_has_no_answer():
    reply = reply_to(Scripted("well<|im_end|>"), MESSAGES, Asked())
    assert (reply.thought, reply.answer, reply.answer_tokens, reply.ended) == ("well", "", 0, "stop")


def test_a_budget_above_the_limit_closes_no_thought():
    reply = reply_to(Scripted("seven and more"), MESSAGES, Asked(budget=4, most=3))
    assert (reply.thought, reply.thought_tokens, reply.ended, reply.was_closed) == ("sev", 3, "length", False)


def test_a_budget_of_the_limit_leaves_room_for_the_end_of_the_thought_alone():
    reply = reply_to(Scripted("seven and more", "7"), MESSAGES, Asked(budget=3, most=3))
    assert (reply.thought, reply.answer, reply.was_closed) == ("se", "7", True)


def test_a_turn_that_ends_within_the_budget_is_not_continued():
    reply = reply_to(Scripted("well<|im_end|>", "7"), MESSAGES, Asked(budget=100))
    assert (reply.thought, reply.answer, reply.ended, reply.was_closed) == ("well", "", "stop", False)


@pytest.mark.parametrize(
    ("thinking", "options"),
    [(None, {}), ("on", {"enable_thinking": True}), ("off", {"enable_thinking": False}), ("low", {"low_effort": True})],
)
def test_a_mode_of_thinking_is_an_option_of_the_template(thinking, options):
    rendered = []

    class Noting(Scripted):
        def render(self, messages, **options):
            rendered.append(options)
            return f"{options} <think>"

    reply_to(Noting("7<|im_end|>", "7<|im_end|>"), MESSAGES, Asked(thinking))
    assert rendered[0] == options


@pytest.mark.parametrize(("most", "thought", "answer"), [(3, "sev", ""), (8, "seven", "7")])
def test_the_limit_holds_for_thought_and_answer_together(most, thought, answer):
    reply = reply_to(Scripted("seven\n</think>", "777"), MESSAGES, Asked(most=most))
    assert (reply.thought, reply.answer, reply.ended) == (thought, answer, "length")


def test_a_template_that_opens_no_thought_may_have_one_in_the_reply():
    reply = reply_to(Scripted("<think>seven</think>7<|im_end|>", opening=""), MESSAGES, Asked())
    assert (reply.thought, reply.answer) == ("seven", "7")


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        (Asked(budget=6), "budget"),
        (Asked(thinking="low"), "--thinking low"),
        (Asked(thinking="off", budget=6), "Thinking is off"),
    ],
)
def test_what_the_template_does_not_have_is_refused(asked, named):
    speaker = Scripted(opening="")
    with pytest.raises(UserError, match=named):
        reply_to(speaker, MESSAGES, asked)
    assert not speaker.prompts


def test_text_comes_as_it_is_generated():
    pieces = []
    reply_to(
        Scripted("one two\nthree\n</think>", "the end<|im_end|>"), MESSAGES, Asked(), lambda *it: pieces.append(it)
    )
    assert pieces == [
        ("thought", "one "), ("thought", "two\n"), ("thought", "three\n"), ("answer", "the "), ("answer", "end"),
    ]  # fmt: skip


def test_a_finished_line_is_not_decoded_again():
    """Otherwise each token of a long reply would take longer than the one before."""
    speaker, pieces, decoded = Scripted(), [], []
    speaker.decode = lambda ids: decoded.append(len(ids)) or "".join(map(chr, ids))
    flow = _Flow(speaker, pieces.append)
    for letter in "one\ntwo\nthree":
        flow.add(ord(letter))
    flow.end()
    assert pieces == ["one\n", "two\n", "three"]
    assert max(decoded) == len("three")
