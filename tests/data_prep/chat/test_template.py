import json
import pickle
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nemotron.data_prep.chat import template as template_module
from nemotron.data_prep.chat.template import Template, load_template
from nemotron.data_prep.dialects.row import parse_row
from nemotron.data_prep.drop_reasons import DropReason, RowError
from nemotron.errors import UserError

# Conversations with what the public Nemotron 3 chat templates render for them.
GOLDEN = [
    json.loads(line) for line in (Path(__file__).parents[2] / "data" / "chat_format.jsonl").open(encoding="utf-8")
]
MESSAGES = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]


def golden(field: str) -> list:
    return [pytest.param(case, case[field], id=case["id"]) for case in GOLDEN]


@pytest.fixture(scope="module")
def nemotron3() -> Template:
    return load_template("nemotron3")


@pytest.mark.parametrize(("case", "expected"), golden("rendered"))
def test_renders_like_the_public_template(nemotron3: Template, case: dict, expected: str):
    conversation = parse_row(case)

    assert nemotron3.render(conversation.messages, conversation.tools) == expected


@pytest.mark.parametrize(("case", "expected"), golden("rendered_keep_history"))
def test_keeps_reasoning_in_the_history_on_request(nemotron3: Template, case: dict, expected: str):
    conversation = parse_row(case)

    rendered = nemotron3.render(conversation.messages, conversation.tools, truncate_history_thinking=False)

    assert rendered == expected


@pytest.mark.parametrize(("case", "expected"), golden("generation_prompt"))
def test_prompts_end_before_the_first_answer(nemotron3: Template, case: dict, expected: str):
    conversation = parse_row(case)
    first_answer = [message["role"] for message in conversation.messages].index("assistant")

    prompt = nemotron3.render(conversation.messages[:first_answer], conversation.tools, add_generation_prompt=True)

    assert prompt == expected


@pytest.mark.parametrize(("case", "expected"), golden("rendered_budget_128"))
def test_tells_the_last_user_turn_the_budget(nemotron3: Template, case: dict, expected: str):
    conversation = parse_row(case)

    assert nemotron3.render(conversation.messages, conversation.tools, reasoning_budget=128) == expected


@pytest.mark.parametrize(("case", "expected"), golden("rendered_low_effort"))
def test_tells_the_last_user_turn_to_spend_little_effort(nemotron3: Template, case: dict, expected: str):
    conversation = parse_row(case)

    assert nemotron3.render(conversation.messages, conversation.tools, low_effort=True) == expected


def test_without_thinking_the_prompt_closes_the_thought(nemotron3: Template):
    prompt = nemotron3.render(MESSAGES[:1], None, add_generation_prompt=True, enable_thinking=False)

    assert prompt.endswith("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think></think>")


def test_describes_tools_that_schemas_allow_but_few_write(nemotron3: Template):
    parameters = {
        "type": "object",
        "properties": {
            "city": {"type": ["string", "null"], "description": None, "examples": ["Zürich"], "minLength": 1},
            "area": {"type": "object", "properties": {"km2": {"type": "number"}}, "required": ["km2"]},
            "anything": True,
        },
        "required": None,
    }
    tools = [{"type": "function", "function": {"name": "weather", "parameters": parameters, "strict": None}, "x": 1}]

    rendered = nemotron3.render(MESSAGES, tools)

    described = rendered.partition("<tools>\n")[2].partition("\n</tools>")[0]
    assert described == (
        "<function>\n<name>weather</name>\n<parameters>\n"
        "<parameter>\n<name>city</name>\n<type>['string', 'null']</type>\n<description>None</description>\n"
        '<examples>["Zürich"]</examples>\n<minLength>1</minLength>\n</parameter>\n'
        '<parameter>\n<name>area</name>\n<type>object</type>\n<properties>{"km2": {"type": "number"}}</properties>\n'
        '<required>["km2"]</required>\n</parameter>\n'
        "<parameter>\n<name>anything</name>\n</parameter>\n"
        "<required>null</required>\n</parameters>\n<strict>None</strict>\n</function>"
    )


def test_bundled_names_are_one_template():
    templates = [load_template(name) for name in ("nemotron3", "super3", "nano3")]

    assert len({template.digest for template in templates}) == 1
    assert all(template.is_nemotron3 for template in templates)


def test_the_bundled_template_is_compiled_when_it_renders_and_others_at_once():
    bundled = load_template("nemotron3")
    assert bundled._compiled is None
    bundled.render(MESSAGES, None)
    assert bundled.compile() is bundled._compiled is not None
    assert Template("mine", "{{ messages[0].content }}")._compiled is not None


def test_a_template_is_read_from_a_file(tmp_path: Path):
    path = tmp_path / "shout.jinja"
    path.write_text("{% for message in messages %}{{ message.content | upper }}!{% endfor %}")

    template = load_template(str(path))

    assert template.render(MESSAGES, None) == "HI!HELLO!"
    assert not template.is_nemotron3


def test_the_digest_is_of_the_contents(tmp_path: Path):
    for name, source in [("a.jinja", "one"), ("b.jinja", "one"), ("c.jinja", "two")]:
        (tmp_path / name).write_text(source)
    a, b, c = (load_template(str(tmp_path / name)).digest for name in ("a.jinja", "b.jinja", "c.jinja"))

    assert a == b != c


@pytest.mark.parametrize(
    "chat_template", ["{{ bos_token }}{{ messages[0].content }}", {"default": "{{ bos_token }}Hi"}]
)
def test_the_tokenizers_own_template_knows_its_special_tokens(chat_template: object):
    tokenizer: Any = SimpleNamespace(
        chat_template=chat_template, special_tokens_map={"bos_token": "<s>", "pad_token": None}
    )

    assert load_template("tokenizer", tokenizer).render(MESSAGES, None) == "<s>Hi"


@pytest.mark.parametrize(
    ("chat_template", "problem"),
    [
        (None, "has no chat template of its own"),
        ("", "has no chat template of its own"),
        ({"tool_use": "x"}, 'has no chat template "default"'),
    ],
)
def test_a_tokenizer_without_template(chat_template: object, problem: str):
    tokenizer: Any = SimpleNamespace(chat_template=chat_template, special_tokens_map={})

    with pytest.raises(UserError, match=rf"The tokenizer {problem} \(chat_template: tokenizer\)"):
        load_template("tokenizer", tokenizer)


NAMED: Any = SimpleNamespace(
    chat_template={"default": "plain", "tool_use": "{{ tools | length }} tools", "rag": "documents"},
    special_tokens_map={},
)
TOOLS = [{"name": "now"}]


def test_conversations_with_tools_use_the_template_named_tool_use_as_in_transformers():
    template = load_template("tokenizer", NAMED)

    assert (template.render(MESSAGES, None), template.render(MESSAGES, TOOLS)) == ("plain", "1 tools")
    assert template.digest != load_template("tokenizer:default", NAMED).digest


def test_one_of_the_tokenizers_templates_can_be_named():
    template = load_template("tokenizer:rag", NAMED)

    assert (template.render(MESSAGES, None), template.render(MESSAGES, TOOLS)) == ("documents", "documents")


def test_a_misspelt_template_of_the_tokenizer_is_refused_with_the_nearest():
    with pytest.raises(UserError, match=r'"tool_usage" .*tokenizer:tool_usage.*"tool_use".*tokenizer:rag'):
        load_template("tokenizer:tool_usage", NAMED)


def test_a_byte_order_mark_is_no_part_of_a_template(tmp_path: Path):
    (tmp_path / "bom.jinja").write_bytes("\ufeffHi".encode())

    assert load_template(str(tmp_path / "bom.jinja")).render(MESSAGES, None) == "Hi"


def test_a_file_too_large_to_be_a_template_is_not_read(tmp_path: Path):
    with open(tmp_path / "large.jinja", "wb") as file:
        file.truncate(10**9)  # a hole: it takes no space

    with pytest.raises(UserError, match=r"large\.jinja.*1,000,000,000"):
        load_template(str(tmp_path / "large.jinja"))


def test_a_template_may_have_as_many_bytes_as_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "t.jinja").write_text("Hello")
    monkeypatch.setattr(template_module, "LARGEST_FILE", 5)
    assert template_module.read_source(tmp_path / "t.jinja") == "Hello"
    monkeypatch.setattr(template_module, "LARGEST_FILE", 4)
    with pytest.raises(UserError, match="5 bytes"):
        template_module.read_source(tmp_path / "t.jinja")


def test_a_template_sent_to_a_worker_is_the_same_at_the_same_moment():
    noon = datetime(2026, 1, 2, 12, 0, 0)
    template = Template(
        "t", "{{ strftime_now('%d %b %Y, %H:%M:%S') }} {{ bos_token }}", {"bos_token": "<s>"}, moment=noon
    )

    copy = pickle.loads(pickle.dumps(template))

    assert copy.render(MESSAGES, None) == template.render(MESSAGES, None) == "02 Jan 2026, 12:00:00 <s>"
    assert copy.digest == template.digest != template.at(datetime(2026, 1, 3)).digest


def test_only_templates_that_ask_for_the_time_depend_on_it():
    one, other = Template("t", "Hi", moment=datetime(2026, 1, 2)), Template("t", "Hi", moment=datetime(2026, 1, 3))

    assert one.moment is None
    assert one.digest == other.digest
    with_tools = Template("t", "Hi", tool_use="{{ strftime_now('%Y') }}", moment=datetime(2026, 1, 2))
    assert with_tools.moment == datetime(2026, 1, 2)
    now = Template("t", "{{ strftime_now('%Y') }}").moment
    assert now is not None
    assert now.microsecond == 0  # as it is written down


def test_an_unknown_name_is_refused_with_the_nearest_known():
    with pytest.raises(UserError, match=r'"nemotron4".*Did you mean "nemotron3".*super3'):
        load_template("nemotron4")


def test_a_broken_template_names_its_line():
    with pytest.raises(UserError, match="line 2"):
        Template("mine.jinja", "fine\n{% if %}")


def test_a_template_that_refuses_a_conversation_drops_that_row():
    template = Template("mine.jinja", "{{ raise_exception('roles must alternate') }}")

    with pytest.raises(RowError, match="roles must alternate") as caught:
        template.render(MESSAGES, None)
    assert caught.value.reason == DropReason.TEMPLATE_ERROR


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages.__class__.__mro__[1].__subclasses__() }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ messages.append(1) }}",
        "{{ strftime_now.__self__.__class__.__bases__[0] }}",
    ],
)
def test_a_template_cannot_leave_the_sandbox(source: str):
    with pytest.raises(RowError, match="SecurityError"):
        Template("evil.jinja", source).render(MESSAGES, None)


def test_half_of_a_surrogate_pair_is_no_text():
    """No library encodes it, so it costs its row here."""
    with pytest.raises(RowError, match="surrogates not allowed") as caught:
        Template("half.jinja", "{{ '\\ud800' }}").render(MESSAGES, None)
    assert caught.value.reason == DropReason.TEMPLATE_ERROR


@pytest.mark.parametrize("source", ["{{ messages[0].items }}", "{{ messages | map('upper') }}"])
def test_an_object_of_python_is_no_text(source: str):
    with pytest.raises(RowError, match=r"writes an object of Python, not text: <.* at 0x") as caught:
        Template("mine.jinja", source).render(MESSAGES, None)
    assert caught.value.reason == DropReason.TEMPLATE_ERROR


def test_a_conversation_may_show_an_object_of_python():
    content = 'It prints "<built-in method items of dict object at 0x7f0123456789>".'
    template = Template("mine.jinja", "{{ messages[0].content }}{{ messages | tojson }}")
    assert template.render([{"role": "user", "content": content}], None).startswith(content)


def test_nothing_in_a_template_chooses_at_random():
    with pytest.raises(UserError, match="No filter named 'random'"):
        Template("dice.jinja", "{{ [1, 2] | random }}")
    with pytest.raises(RowError, match="'lipsum' is undefined"):
        Template("text.jinja", "{{ lipsum() }}").render(MESSAGES, None)


def test_jinja_as_transformers_runs_it():
    source = "{% for m in messages %}\n  {% if loop.first %}{% continue %}{% endif %}\n{{ m | tojson }}{% endfor %}"
    messages = [MESSAGES[0], {"role": "assistant", "content": "<b>東京</b>"}]

    assert Template("mine", source).render(messages, None) == '{"role": "assistant", "content": "<b>東京</b>"}'


def test_a_template_that_is_nested_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "deep.jinja"
    path.write_text("{% if x %}" * 3000 + "{% endif %}" * 3000)
    with pytest.raises(UserError, match="deep"):
        load_template(str(path), None)


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in [1] %}" * 50 + "{% endfor %}" * 50,  # more blocks than Python nests
        "{{ " + "(" * 20_000 + "1" + ")" * 20_000 + " }}",
        "{{ x | nosuch }}",
    ],
)
def test_what_jinja_or_python_cannot_compile_is_refused_with_the_template(source: str) -> None:
    with pytest.raises(UserError, match="odd") as caught:
        Template("odd", source)
    assert ".." not in caught.value.message


def test_every_option_is_a_variable_of_the_template():
    names = "enable_thinking, truncate_history_thinking, reasoning_budget, low_effort, add_generation_prompt, documents"
    template = Template("t", f"{{{{ [{names}] }}}}")
    assert template.render(MESSAGES, None) == "[True, True, None, False, False, None]"
    chosen = template.render(
        MESSAGES, None, enable_thinking=False, truncate_history_thinking=False, reasoning_budget=5, low_effort=True,
        add_generation_prompt=True,
    )  # fmt: skip
    assert chosen == "[False, False, 5, True, True, None]"


def test_what_may_end_an_answer_comes_from_the_tokenizer(tmp_path: Path):
    (tmp_path / "t.jinja").write_text("Hi")
    known: Any = SimpleNamespace(chat_template="Hi", special_tokens_map={"eos_token": "</s>"}, special=("<eot>",))
    bare: Any = SimpleNamespace(chat_template="Hi", special_tokens_map={})
    for name in (str(tmp_path / "t.jinja"), "tokenizer"):
        template = load_template(name, known)
        assert sorted(template.ends) == ["</s>", "<eot>"]
        assert template.at(datetime(2026, 1, 2)).ends == template.ends
        assert load_template(name, bare).ends == ()
    with_tools = Template("t", "Hi", tool_use="{{ strftime_now('%Y') }}", moment=datetime(1999, 1, 2), ends=["</s>"])
    assert with_tools.for_tools([{"name": "now"}]).ends == ("</s>",)
    assert with_tools.render(MESSAGES, TOOLS) == "1999"


def test_a_token_that_a_tokenizer_lacks_is_not_defined():
    template = Template(
        "t", "{{ pad_token is defined }} {{ eos_token is defined }}", {"pad_token": None, "eos_token": 1}
    )
    assert template.render(MESSAGES, None) == "False True"


def test_a_template_of_tools_that_is_the_same_is_no_other():
    template = Template("t", "Hi", tool_use="Hi")
    assert template.for_tools([{"name": "now"}]) is template
    assert template.digest == Template("t", "Hi").digest
    assert len(template.digest) == 32


def test_a_file_that_is_no_text_or_cannot_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "t.jinja").write_bytes(b"\xff")
    with pytest.raises(UserError, match=r"t\.jinja cannot be read"):
        load_template(str(tmp_path / "t.jinja"))

    def fail(path: Path, encoding: str) -> str:
        raise PermissionError("not yours")

    monkeypatch.setattr(template_module, "read_text", fail)
    with pytest.raises(UserError, match=r"t\.jinja cannot be read: not yours"):
        load_template(str(tmp_path / "t.jinja"))


def test_tools_may_show_objects_of_python_and_the_first_other_one_is_named():
    shown, others = "<é object at 0x7f0123456789>", ["<a object at 0x1234>", "<b object at 0x5678>"]
    tools = [{"name": "now", "description": shown, "default": datetime(2026, 1, 2)}]
    assert Template("t", "{{ tools[0].description }}").render(MESSAGES, tools) == shown
    with pytest.raises(RowError, match="not text: <a object at 0x1234>"):
        Template("t", "{{ tools[0].description }}" + "".join(reversed(others))).render(MESSAGES, tools)


def test_blocks_in_comments_are_none() -> None:
    block = "{% generation %}{{ messages[0].content }}{% endgeneration %}"
    sources = [block, "{# } #}" + block, "{# as } in\n" + block + " #}", "{# a #}" + block + "{# b #}"]
    assert [Template("mine", source).has_generation_blocks for source in sources] == [True, True, False, True]
