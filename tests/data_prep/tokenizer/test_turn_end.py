"""Before anything is written: the template must end an answer with a token that stops the model."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

from nemotron.data_prep.chat.chunks import sequences
from nemotron.data_prep.chat.conversation import Conversation
from nemotron.data_prep.chat.template import Template, load_template
from nemotron.data_prep.config import DataPrepConfig, TokenizerConfig
from nemotron.data_prep.drop_reasons import DropReason, RowError
from nemotron.data_prep.pipeline import prepare
from nemotron.data_prep.tokenizer.load import load_tokenizer
from nemotron.data_prep.tokenizer.tokenizer import CONTROL_TOKENS
from nemotron.data_prep.tokenizer.turn_end import _single_id, with_turn_end
from nemotron.errors import UserError

HI = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]


@pytest.fixture
def tokenizer_with(tmp_path: Path) -> Callable:
    """A tokenizer of bytes with these control tokens, the first of which is its eos."""

    def make(*tokens: str):
        vocab = {byte: number for number, byte in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
        backend = Tokenizer(models.BPE(vocab=vocab, merges=[]))
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in tokens])
        backend.save(str(tmp_path / "tokenizer.json"))
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": tokens[0]}))
        return load_tokenizer(TokenizerConfig(model=str(tmp_path)))

    return make


def read(source: str, tokenizer, tmp_path: Path) -> Template:
    (tmp_path / "mine.jinja").write_text(source)
    return load_template(str(tmp_path / "mine.jinja"), tokenizer)


@pytest.mark.parametrize(
    ("ending", "token"),
    [
        ("{{ eos_token }}", "</s>"),
        ("<|eot|>\n", "<|eot|>"),
        ("<|eot|><|head|>assistant", "<|eot|>"),  # the next prompt, unasked
    ],
)
def test_a_turn_is_trained_to_the_token_that_the_template_writes(
    tokenizer_with: Callable, tmp_path: Path, ending: str, token: str
) -> None:
    tokenizer = tokenizer_with("</s>", "<|eot|>", "<|head|>")
    template = read("{% for m in messages %}{{ m.content }}" + ending + "{% endfor %}", tokenizer, tmp_path)
    ended = with_turn_end(tokenizer, template)
    assert tokenizer.encode_chunks([token]) == [[ended.end_id]]


@pytest.mark.parametrize("ending", ["", "\n", "</answer>", "<|im_end|>\n"])
def test_a_template_that_never_stops_is_refused(tokenizer_with: Callable, tmp_path: Path, ending: str) -> None:
    tokenizer = tokenizer_with("</s>")
    template = read("{% for m in messages %}{{ m.content }}" + ending + "{% endfor %}", tokenizer, tmp_path)
    with pytest.raises(UserError, match=rf"mine\.jinja.*{tmp_path}"):
        with_turn_end(tokenizer, template)


def test_the_template_for_tools_must_stop_too(tokenizer_with: Callable) -> None:
    tokenizer = tokenizer_with("</s>")
    stops = "{% for m in messages %}{{ m.content }}</s>{% endfor %}"
    template = Template("named", stops, tool_use=stops.replace("</s>", ""), ends=["</s>"])
    with pytest.raises(UserError, match="named"):
        with_turn_end(tokenizer, template)


@pytest.mark.parametrize("tokens", [["<|eot_id|>"], ["<|im_end|>"], ["</s>", "<|im_start|>"]])
def test_the_bundled_format_needs_its_control_tokens(tokenizer_with: Callable, tokens: list[str]) -> None:
    tokenizer = tokenizer_with(*tokens)
    with pytest.raises(UserError, match=rf"nemotron3.*<\|im_.*{tokenizer.name}"):
        with_turn_end(tokenizer, load_template("nemotron3", tokenizer))


def test_a_template_that_takes_too_long_is_refused(tokenizer_with: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(template: Template) -> None:
        raise RowError(DropReason.TEMPLATE_ERROR, f"{template.name} takes more than 3 s")

    monkeypatch.setattr("nemotron.data_prep.tokenizer.turn_end.find_frame", fail)
    with pytest.raises(UserError, match="The chat template slow takes more than 3 s"):
        with_turn_end(tokenizer_with("</s>"), Template("slow", "{{ messages }}", ends=["</s>"]))


def test_a_template_that_takes_no_such_conversation_is_judged_row_by_row(
    tokenizer_with: Callable, tmp_path: Path
) -> None:
    tokenizer = tokenizer_with("</s>")
    template = read("{{ raise_exception('no') }}", tokenizer, tmp_path)
    assert with_turn_end(tokenizer, template) == tokenizer


def test_a_row_whose_calls_are_not_ended_is_refused(tokenizer_with: Callable, tmp_path: Path) -> None:
    of_message = "{{ m.content }}{{ m.tool_calls[0].function if m.tool_calls else eos_token }}"
    source = "{% for m in messages %}" + of_message + "{% endfor %}"
    template = read(source, tokenizer_with("</s>"), tmp_path)
    call = {"type": "function", "function": {"name": "f", "arguments": {}}}
    with pytest.raises(RowError, match="message 1"):
        sequences(Conversation([HI[0], {"role": "assistant", "content": "", "tool_calls": [call]}]), template)


HEADED = "{% for m in messages %}[{{ m.role }}]\n{{ m.content }}</s>{% endfor %}"
LLAMA2 = (
    "{% for m in messages %}{% if m.role == 'user' %}[U]{{ m.content }}[/U]{% else %} {{ m.content }}</s>{% endif %}"
    "{% endfor %}"
)


@pytest.mark.parametrize(
    ("source", "prompt"),
    [
        pytest.param(HEADED, "[assistant]\n", id="no prompt"),
        pytest.param(LLAMA2, "[/U]", id="none needed"),
        pytest.param(HEADED + "{{ '[assistant]\n' }}", "[assistant]\n", id="unasked"),
    ],
)
def test_headers_are_not_trained_though_no_prompt_is_asked_for(
    tokenizer_with: Callable, tmp_path: Path, source: str, prompt: str
) -> None:
    template = read(source, tokenizer_with("</s>"), tmp_path)
    (chunks,) = sequences(Conversation([*HI, *HI]), template)
    trained = [number for number, chunk in enumerate(chunks) if chunk.supervised]
    assert [chunks[number].text.strip() for number in trained] == ["Hello</s>"] * 2
    assert all(chunks[number - 1].text.endswith(prompt) for number in trained)


def test_nothing_is_written_for_a_template_that_never_stops(
    make_config: Callable[..., DataPrepConfig], write_rows: Callable, chat: Callable, tmp_path: Path
) -> None:
    write_rows("chat.jsonl", [chat("Hi", "Hello")])
    (tmp_path / "mine.jinja").write_text("{% for m in messages %}{{ m.content }}{% endfor %}")
    with pytest.raises(UserError, match=r"mine\.jinja"):
        prepare(make_config("chat.jsonl", chat_template=str(tmp_path / "mine.jinja")))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("lacks", CONTROL_TOKENS)
def test_the_bundled_format_needs_each_of_its_tokens_as_one(tokenizer_with: Callable, lacks: str) -> None:
    whole, bundled = tokenizer_with(*CONTROL_TOKENS), load_template("nemotron3")
    assert with_turn_end(whole, bundled) == whole
    in_pieces = replace(whole, single_ids={**whole.single_ids, lacks: None})
    no_control = replace(
        whole, special=tuple(token for token in whole.special if token != lacks), special_tokens_map={}
    )
    for tokenizer in (in_pieces, no_control):
        with pytest.raises(UserError, match=re.escape(lacks)):
            with_turn_end(tokenizer, bundled)


def test_the_eos_token_is_a_control_token_whatever_the_definition_calls_it(tokenizer_with: Callable) -> None:
    tokenizer = tokenizer_with("<|im_end|>", "<|im_start|>")
    unlisted = replace(tokenizer, special=("<|im_start|>",))
    assert with_turn_end(unlisted, load_template("nemotron3")) is unlisted
    with pytest.raises(UserError, match=r"written with <\|im_end\|>,"):
        with_turn_end(replace(unlisted, special_tokens_map={}), load_template("nemotron3"))


def test_how_a_template_ends_a_turn_is_shown(tokenizer_with: Callable, tmp_path: Path) -> None:
    tokenizer = tokenizer_with("</s>")
    for ending, shown in (("", "ends it without one:"), ("x" * 50, f"ends it with '{'x' * 40}', no control token")):
        template = read("{% for m in messages %}{{ m.content }}" + ending + "{% endfor %}", tokenizer, tmp_path)
        with pytest.raises(UserError) as refused:
            with_turn_end(tokenizer, template)
        assert shown in refused.value.message


def test_a_token_that_is_not_known_by_name_is_encoded(tokenizer_with: Callable) -> None:
    tokenizer = replace(tokenizer_with("</s>"), single_ids={})
    assert _single_id(tokenizer, "</s>") == tokenizer.eos_id
    assert _single_id(tokenizer, "<s>") is None
    assert _single_id(tokenizer, "") is None
