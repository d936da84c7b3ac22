"""Load a chat template, and render messages with it."""

import functools
import json
import re
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from datetime import datetime
from hashlib import blake2b
from importlib import resources
from pathlib import Path
from typing import Any, Protocol, TypedDict

import jinja2

from nemotron.data_prep.chat.conversation import Message, Tool
from nemotron.data_prep.chat.jinja_sandbox import (
    BLOCK_BEGIN,
    BLOCK_END,
    PROBE_SECONDS,
    LimitExceeded,
    count_rendered,
    limit_resources,
    make_environment,
)
from nemotron.data_prep.drop_reasons import DropReason, RowError
from nemotron.errors import UserError, did_you_mean
from nemotron.files.regular_files import read_text

BUNDLED = {"nemotron3": "nemotron3.jinja", "super3": "nemotron3.jinja", "nano3": "nemotron3.jinja"}
FROM_TOKENIZER = "tokenizer"
DEFAULT = "default"
TOOL_USE = "tool_use"
"""The named template of a tokenizer that transformers uses for conversations with tools."""
_COMMENT = re.compile(r"\{#.*?#\}", re.DOTALL)
_GENERATION = re.compile(r"\{%[-+]?\s*generation\s*[-+]?%\}")
_AT = " at 0x"
_OBJECT = re.compile(rf"<[^<>]{{1,200}}{_AT}[0-9a-f]{{4,16}}>")
LARGEST_FILE = 4 * 2**20
"""The most bytes of a template file; the longest known ones have 30,000."""


class RenderOptions(TypedDict, total=False):
    """Options of a template in addition to the messages.

    See `Template.render` for the defaults.
    """

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
    """A chat template that compiles.

    name                   as the user gave it
    source                 the Jinja text
    special_tokens         variables of the template: `bos_token`, `eos_token`, ...
    tool_use               the Jinja text for conversations with tools, if it is another one
    ends                   tokens of which one must end an assistant's turn; empty if they are not known
    moment                 the time that `strftime_now` returns, the same for all rows of a run
    digest                 hex hash of all this: templates with the same digest render the same
    is_nemotron3           whether this is the bundled format, which nemotron3.py renders faster
    has_generation_blocks  whether the template marks what an assistant produced
    """

    def __init__(
        self,
        name: str,
        source: str,
        special_tokens: Mapping[str, Any] | None = None,
        tool_use: str | None = None,
        moment: datetime | None = None,
        ends: Iterable[str] = (),
    ) -> None:
        """Compile a template; the bundled one is compiled when it first renders.

        Args:
            name: For messages.
            source: The Jinja text.
            special_tokens: Variables of the template: `bos_token`, `eos_token`, ...
            tool_use: The Jinja text for conversations with tools; by default the same.
            moment: The time that the template sees, in local time; by default now.
            ends: The tokens that may end an assistant's turn.

        Raises:
            UserError: `source` is not a valid Jinja template; the message has the line.
        """
        self.name = name
        self.source = source
        self.tool_use = None if tool_use == source else tool_use
        self.ends = tuple(ends)
        sources = [source] if self.tool_use is None else [source, self.tool_use]
        tells_time = any("strftime_now" in text for text in sources)
        self.moment = (moment or datetime.now().replace(microsecond=0)) if tells_time else None
        said = [*sources, *([self.moment.isoformat()] if self.moment else [])]
        self.digest = _digest("\0".join(said))
        self.is_nemotron3 = self.digest == _digest(_bundled_source("nemotron3"))
        self.has_generation_blocks = _GENERATION.search(_COMMENT.sub("", source)) is not None
        self.special_tokens = {key: str(token) for key, token in (special_tokens or {}).items() if token is not None}
        self._with_tools = (
            Template(name, self.tool_use, special_tokens, moment=self.moment, ends=self.ends)
            if self.tool_use is not None
            else self
        )
        self._compiled: jinja2.Template | None = None
        if not self.is_nemotron3:
            self._check()

    def _check(self) -> None:
        """Compile a template that may be anything."""
        name = self.name
        try:
            with limit_resources(name, PROBE_SECONDS):
                self.compile()
        except jinja2.TemplateSyntaxError as error:
            message = (
                f"The chat template {name} is not valid Jinja: line {error.lineno}: {str(error.message).rstrip('.')}."
            )
            raise UserError(message, f"Correct that line, or use one of {', '.join(BUNDLED)}.") from error
        except (RecursionError, SyntaxError) as error:  # Python has a limit of its own: 20 blocks in each other
            raise UserError(
                f"The chat template {name} is nested too deeply.", "Simplify it, or use another template."
            ) from error
        except RowError as error:  # Jinja evaluates constants when it compiles
            raise UserError(f"The chat template {error.detail}.", "Use another template.") from error

    def compile(self) -> jinja2.Template:
        """Compile the template, once."""
        if self._compiled is None:
            self._compiled = _compile(self.source)
        return self._compiled

    def __reduce__(self) -> tuple[Any, ...]:  # compiled code cannot be pickled, so each worker compiles its own
        return Template, (self.name, self.source, self.special_tokens, self.tool_use, self.moment, self.ends)

    def at(self, moment: datetime) -> "Template":
        """Return this template with another moment."""
        return Template(self.name, self.source, self.special_tokens, self.tool_use, moment, self.ends)

    def for_tools(self, tools: list[Tool] | None) -> "Template":
        """Return the template for conversations with these tools."""
        return self._with_tools if tools else self

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
        """Render normalised messages.

        The options are variables of the template; `reasoning_budget` is in tokens.

        Raises:
            RowError: template_error; the template refuses the messages, or fails on them.
        """
        template = self.for_tools(tools)
        text = template.render_marked(
            messages,
            tools,
            add_generation_prompt=add_generation_prompt,
            enable_thinking=enable_thinking,
            truncate_history_thinking=truncate_history_thinking,
            reasoning_budget=reasoning_budget,
            low_effort=low_effort,
        )
        return text.replace(BLOCK_BEGIN, "").replace(BLOCK_END, "") if template.has_generation_blocks else text

    def render_marked(self, messages: list[Message], tools: list[Tool] | None, **variables: Any) -> str:
        """Render with generation blocks still between BLOCK_BEGIN and BLOCK_END."""
        variables = {**self.special_tokens, "documents": None, **variables}
        if self.moment is not None:
            variables["strftime_now"] = self.moment.strftime
        try:
            with nullcontext() if self.is_nemotron3 else limit_resources(self.name):
                text = self.compile().render(messages=messages, tools=tools, **variables)
                count_rendered(text)
            if not text.isascii():
                text.encode()  # half of a surrogate pair is no text
            if _AT in text:
                _refuse_objects(text, [messages, tools])
            return text
        except (RowError, UserError, LimitExceeded, MemoryError):  # handled by the block that set the limits
            raise
        except Exception as error:  # a template is the user's program and may raise anything
            detail = f"{self.name}: {type(error).__name__}: {error}"
            raise RowError(DropReason.TEMPLATE_ERROR, detail) from error


def load_template(name_or_path: str, tokenizer: TokenizerWithTemplate | None = None) -> Template:
    """Load a template by name or file, or the tokenizer's own.

    The bundled template is called `nemotron3`, `super3` or `nano3`. The name `tokenizer` means the tokenizer's own chat
    template. Templates that are not bundled also get the tokenizer's special tokens (`bos_token`, ...) as variables.

    Raises:
        UserError: There is no such template.
    """
    special_tokens = tokenizer.special_tokens_map if tokenizer is not None else {}
    eos = special_tokens.get("eos_token")
    ends = {*getattr(tokenizer, "special", ()), *([str(eos)] if eos else [])}
    if name_or_path in BUNDLED:
        return Template(name_or_path, _bundled_source(name_or_path))
    if name_or_path.partition(":")[0] == FROM_TOKENIZER:
        source, tool_use = _tokenizer_sources(tokenizer, name_or_path.partition(":")[2])
        return Template(name_or_path, source, special_tokens, tool_use, ends=ends)
    path = Path(name_or_path)
    if path.is_file():
        return Template(name_or_path, read_source(path), special_tokens, ends=ends)
    known = [*BUNDLED, FROM_TOKENIZER]
    guess = did_you_mean(name_or_path, known)
    raise UserError(
        f'There is no chat template "{name_or_path}", neither by that name nor as a file.',
        f"{guess + ' ' if guess else ''}Known names are {', '.join(known)}; or give the path of a .jinja file.",
    )


def read_source(path: Path) -> str:
    """Read a template file, without the byte order mark that some editors write.

    Raises:
        UserError: The file cannot be read as text, or is too large to be a template.
    """
    try:
        if (size := path.stat().st_size) > LARGEST_FILE:
            hint = f"A chat template has at most {LARGEST_FILE:,} bytes: name another file."
            raise UserError(f"The chat template {path} has {size:,} bytes.", hint)
        return read_text(path, encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        hint = "Check that it is a readable text file."
        raise UserError(f"The chat template {path} cannot be read: {error}.", hint) from error


@functools.lru_cache(maxsize=4)  # forked workers inherit what their parent compiled
def _compile(source: str) -> jinja2.Template:
    return make_environment().from_string(source)


def _bundled_source(name: str) -> str:
    return (resources.files("nemotron.data_prep.chat") / "templates" / BUNDLED[name]).read_text(encoding="utf-8")


def _tokenizer_sources(tokenizer: TokenizerWithTemplate | None, wanted: str) -> tuple[str, str | None]:
    """Return the tokenizer's template, and another one for tools if there is one.

    Of several named templates, `wanted` is used. If that is empty, it is `default`, and `tool_use` for tools, as in
    transformers.
    """
    named = tokenizer.chat_template if tokenizer is not None else None
    if not isinstance(named, Mapping):
        named = {DEFAULT: named} if named else {}
    source = named.get(wanted or DEFAULT)
    if source:
        return source, None if wanted else named.get(TOOL_USE)
    choices = ", ".join(f"{FROM_TOKENIZER}:{name}" for name in named)
    problem = f'has no chat template "{wanted or DEFAULT}"' if named else "has no chat template of its own"
    guess = did_you_mean(wanted, named) if wanted else None
    raise UserError(
        f"The tokenizer {problem} (chat_template: {FROM_TOKENIZER}{':' + wanted if wanted else ''}).",
        f"{guess + ' ' if guess else ''}Set chat_template to {choices + ', ' if choices else ''}one of "
        f"{', '.join(BUNDLED)}, or the path of a .jinja file.",
    )


def _refuse_objects(text: str, given: object) -> None:
    """Refuse text with an object of Python that is not in the conversation.

    A template writes one for `schema.items`, which is a method, or for `map` without `list`. It has an address, which
    differs from process to process.

    Raises:
        TemplateError: There is one.
    """
    if objects := set(_OBJECT.findall(text)):
        said = json.dumps(given, ensure_ascii=False, default=str)
        if others := sorted(found for found in objects if json.dumps(found, ensure_ascii=False)[1:-1] not in said):
            raise jinja2.TemplateError(f"it writes an object of Python, not text: {others[0]}")


def _digest(source: str) -> str:
    return blake2b(source.encode(), digest_size=16).hexdigest()
