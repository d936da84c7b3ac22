"""Chat templates: finding one by name, path or tokenizer, and rendering messages with it."""

import functools
import re
from collections.abc import Mapping
from hashlib import blake2b
from importlib import resources
from typing import Any, Protocol, TypedDict

import jinja2

from nemotron.data_prep.chat.conversation import Message, Tool
from nemotron.data_prep.chat.jinja_sandbox import BLOCK_BEGIN, BLOCK_END, make_environment
from nemotron.data_prep.drop_reasons import DropReason, RowError
from nemotron.errors import UserError, did_you_mean
from nemotron.paths import expand_home

BUNDLED = {"nemotron3": "nemotron3.jinja", "super3": "nemotron3.jinja", "nano3": "nemotron3.jinja"}
FROM_TOKENIZER = "tokenizer"


class RenderOptions(TypedDict, total=False):
    """What a template can be told besides the messages. See `Template.render` for the defaults."""

    enable_thinking: bool
    truncate_history_thinking: bool
    reasoning_budget: int | None
    low_effort: bool


class TokenizerWithTemplate(Protocol):
    """The part of a transformers tokenizer that templates need."""

    @property
    def chat_template(self) -> str | Mapping[str, str] | None: ...
    @property
    def special_tokens_map(self) -> Mapping[str, Any]: ...


class Template:
    """A compiled chat template.

    name                   as the user gave it
    source                 the Jinja text
    digest                 hex hash of the source: two templates with one digest render alike
    is_nemotron3           whether this is the bundled format, which nemotron3.py renders faster
    has_generation_blocks  whether the template marks what an assistant produced
    """

    def __init__(self, name: str, source: str, special_tokens: Mapping[str, Any] | None = None) -> None:
        """Raises UserError naming the line when `source` is not a Jinja template."""
        self.name = name
        self.source = source
        self.digest = _digest(source)
        self.is_nemotron3 = self.digest == _digest(_bundled_source("nemotron3"))
        self.has_generation_blocks = re.search(r"\{%[-+]?\s*generation\s*[-+]?%\}", source) is not None
        self._special_tokens = {key: str(token) for key, token in (special_tokens or {}).items() if token is not None}
        try:
            self._compiled = _compile(source)
        except jinja2.TemplateSyntaxError as error:
            message = f"The chat template {name} is not valid Jinja: line {error.lineno}: {error.message}."
            raise UserError(message, f"Correct that line, or use one of {', '.join(BUNDLED)}.") from error

    def render(
        self,
        messages: list[Message],
        tools: list[Tool] | None,
        *,
        add_generation_prompt: bool = False,
        enable_thinking: bool = True,
        truncate_history_thinking: bool = True,
        reasoning_budget: int | None = None,
        low_effort: bool = False,
    ) -> str:
        """The text of normalised messages (`conversation.parse_row`).

        The options reach the template as variables of these names; `reasoning_budget` is in tokens. Raises RowError
        (template_error) when the template refuses the messages or fails on them.
        """
        text = self.render_marked(
            messages,
            tools,
            add_generation_prompt=add_generation_prompt,
            enable_thinking=enable_thinking,
            truncate_history_thinking=truncate_history_thinking,
            reasoning_budget=reasoning_budget,
            low_effort=low_effort,
        )
        return text.replace(BLOCK_BEGIN, "").replace(BLOCK_END, "") if self.has_generation_blocks else text

    def render_marked(self, messages: list[Message], tools: list[Tool] | None, **variables: Any) -> str:
        """`render`, with the text of generation blocks still between BLOCK_BEGIN and BLOCK_END."""
        variables = {**self._special_tokens, "documents": None, **variables}
        try:
            return self._compiled.render(messages=messages, tools=tools, **variables)
        except Exception as error:  # a template is a program of the user's: it may raise anything
            detail = f"{self.name}: {type(error).__name__}: {error}"
            raise RowError(DropReason.TEMPLATE_ERROR, detail) from error


def load_template(name_or_path: str, tokenizer: TokenizerWithTemplate | None = None) -> Template:
    """The template of that name (`nemotron3`, also called `super3` and `nano3`), file, or of the tokenizer.

    `tokenizer` as a name means the tokenizer's own chat template; for any template that is not bundled, the
    tokenizer's special tokens (`bos_token`, ...) are variables too. Raises UserError when there is no such template.
    """
    special_tokens = tokenizer.special_tokens_map if tokenizer is not None else None
    if name_or_path in BUNDLED:
        return Template(name_or_path, _bundled_source(name_or_path))
    if name_or_path == FROM_TOKENIZER:
        return Template(FROM_TOKENIZER, _tokenizer_source(tokenizer), special_tokens)
    path = expand_home(name_or_path)
    if path.is_file():
        try:
            return Template(name_or_path, path.read_text(encoding="utf-8"), special_tokens)
        except (OSError, UnicodeDecodeError) as error:
            hint = "Check that it is a readable text file."
            raise UserError(f"The chat template {name_or_path} cannot be read: {error}.", hint) from error
    known = [*BUNDLED, FROM_TOKENIZER]
    guess = did_you_mean(name_or_path, known)
    raise UserError(
        f'There is no chat template "{name_or_path}", neither by that name nor as a file.',
        f"{guess + ' ' if guess else ''}Known names are {', '.join(known)}; or give the path of a .jinja file.",
    )


@functools.lru_cache(maxsize=4)  # forked workers find what the process before them compiled
def _compile(source: str) -> jinja2.Template:
    return make_environment().from_string(source)


def _bundled_source(name: str) -> str:
    return (resources.files("nemotron.data_prep.chat") / "templates" / BUNDLED[name]).read_text(encoding="utf-8")


def _tokenizer_source(tokenizer: TokenizerWithTemplate | None) -> str:
    """The tokenizer's template; of several named ones its `default`."""
    source = tokenizer.chat_template if tokenizer is not None else None
    if isinstance(source, Mapping):
        source = source.get("default")
    if not source:
        raise UserError(
            "The tokenizer has no chat template of its own.",
            f"Set chat_template to one of {', '.join(BUNDLED)}, or to the path of a .jinja file.",
        )
    return source


def _digest(source: str) -> str:
    return blake2b(source.encode(), digest_size=16).hexdigest()
