"""Predicates that hold for any chat template, over templates that behave as those of the known families do.

tests/data/templates/ has one file each, with a note of what it does. In whatever they render: what comes before an
answer is what inference would show, the stop token is trained, nothing that a message says is lost, and nothing is
trained that an assistant did not say. A conversation with which that cannot be is refused.
"""

from functools import cache
from pathlib import Path

import pytest

from nemotron.data_prep.chat.chunks import Chunk, sequences
from nemotron.data_prep.chat.conversation import Conversation
from nemotron.data_prep.chat.null_content import NULL_TEXT
from nemotron.data_prep.chat.template import Template
from nemotron.data_prep.drop_reasons import RowError

FOLDER = Path(__file__).parents[2] / "data" / "templates"
STOPS = ("</s>", "<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|end|>", "<|return|>", "<|call|>", "<|endoftext|>",
         "<|end_of_text|>", "<|END_OF_TURN_TOKEN|>")  # fmt: skip


def say(role: str, content: str, **fields) -> dict:
    return {"role": role, "content": content, **fields}


CALL = {"type": "function", "function": {"name": "weather", "arguments": {"city": "Zürich", "days": 3}}}
SYSTEM, ASK, AGAIN = say("system", "sys-words"), say("user", "ask-words"), say("user", "more-words")
RESULT = say("tool", "result-words")
CONVERSATIONS = {
    "plain": [ASK, say("assistant", "first-answer"), AGAIN, say("assistant", "second-answer")],
    "system": [SYSTEM, ASK, say("assistant", "first-answer")],
    "reasoning": [
        ASK, say("assistant", "first-answer", reasoning_content="early-thought"),
        AGAIN, say("assistant", "second-answer", reasoning_content="late-thought"),
    ],
    "calls": [ASK, say("assistant", NULL_TEXT, tool_calls=[CALL]), RESULT, say("assistant", "first-answer")],
    "agent": [
        ASK, say("assistant", "", reasoning_content="early-thought", tool_calls=[CALL]),
        RESULT, say("assistant", "first-answer", reasoning_content="late-thought"),
    ],
}  # fmt: skip

ALL, THINKS, CALLS = "plain system reasoning calls agent", "plain system reasoning", "plain system calls"
KEPT = {
    "chatml": "plain system", "chatml_default_system": "plain system", "chatml_trimmed": "plain system",
    "chatml_marked": "plain system", "chatml_two_blocks": THINKS, "chatml_no_prompt": "plain system",
    "chatml_hermes": CALLS, "qwen3": ALL, "qwen3_thinking": ALL, "qwen3_keeps": ALL,
    "llama3": "plain system", "llama3_first": "plain system", "llama31_tools": CALLS, "llama4_pythonic": CALLS,
    "llama31_dated": "plain system", "llama2": "plain system", "mistral": "plain", "mistral_tools": CALLS,
    "magistral": THINKS, "gemma": "plain", "gemma3": "plain system", "phi3": "plain system", "phi4": "plain system",
    "deepseek_v3": CALLS, "deepseek_r1": "", "harmony": ALL, "glm": "", "glm_training": ALL,
    "command_r": "plain system", "zephyr": "plain system", "vicuna": "plain system", "granite": THINKS, "kimi": CALLS,
    "repr_calls": CALLS,
}  # fmt: skip
"""Which conversations each template shows without loss."""


@cache
def load(name: str) -> Template:
    source = (FOLDER / f"{name}.jinja").read_text(encoding="utf-8")
    return Template(name, source, {"bos_token": "<s>", "eos_token": "</s>"}, ends=STOPS)


def test_every_family_is_here():
    assert {path.stem for path in FOLDER.glob("*.jinja")} == set(KEPT)
    assert len(KEPT) >= 30


@pytest.mark.parametrize("name", KEPT)
@pytest.mark.parametrize("kind", CONVERSATIONS)
def test_a_conversation_is_kept_where_nothing_of_it_is_lost(name: str, kind: str):
    if kind in KEPT[name].split():
        assert sequences(Conversation(CONVERSATIONS[kind]), load(name))
    else:
        with pytest.raises(RowError, match=r"template_(mismatch|error)"):
            sequences(Conversation(CONVERSATIONS[kind]), load(name))


kept = pytest.mark.parametrize(("name", "kind"), [(name, kind) for name in KEPT for kind in KEPT[name].split()])


def trained(name: str, kind: str) -> list[list[Chunk]]:
    return sequences(Conversation(CONVERSATIONS[kind]), load(name))


@pytest.mark.parametrize("name", [name for name in KEPT if "plain" in KEPT[name].split()])
def test_what_comes_before_an_answer_is_what_inference_shows(name: str):
    messages, template = CONVERSATIONS["plain"], load(name)
    header = {"chatml_no_prompt": "<|im_start|>assistant\n"}.get(name, "")  # servers must add it
    shown = [
        template.render(messages[:answer], None, add_generation_prompt=True, enable_thinking=thinking) + header
        for answer in (1, 3) for thinking in (True, False)
    ]  # fmt: skip
    for chunks in trained(name, "plain"):
        for number in (number for number, chunk in enumerate(chunks) if chunk.supervised):
            assert "".join(chunk.text for chunk in chunks[:number]) in shown


@kept
def test_every_answer_is_trained_to_its_stop_token(name: str, kind: str):
    answers = [message for message in CONVERSATIONS[kind] if message["role"] == "assistant"]
    stopped = [chunk for chunks in trained(name, kind) for chunk in chunks
               if chunk.supervised and chunk.text.rstrip().endswith(STOPS)]  # fmt: skip
    assert len(stopped) == len(answers)


@kept
def test_nothing_is_lost(name: str, kind: str):
    text = "".join(chunk.text for chunks in trained(name, kind) for chunk in chunks if chunk.supervised)
    for message in CONVERSATIONS[kind]:
        if message["role"] == "assistant":
            assert message["content"] in text
            assert message.get("reasoning_content", "") in text
            if "tool_calls" in message:
                assert all(part in text for part in ("weather", "city", "Zürich", "days", "3"))


@kept
def test_nothing_but_the_assistants_words_is_trained(name: str, kind: str):
    for chunks in trained(name, kind):
        for chunk in chunks:
            if chunk.supervised:
                assert not any(
                    words in chunk.text for words in ("sys-words", "ask-words", "more-words", "result-words")
                )
                headers = ("<|im_start|>", "<|start_header_id|>", "<start_of_turn>", "[INST]", "ASSISTANT")
                assert not any(header in chunk.text for header in headers)
