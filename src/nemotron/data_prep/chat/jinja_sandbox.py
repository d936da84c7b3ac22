"""The Jinja environment chat templates run in: what transformers offers them, and no way out of the sandbox."""

import json
import secrets
from collections.abc import Callable
from typing import Any, NoReturn

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

# What a {% generation %} block prints is wrapped in these, so that its place is found in the rendered text however
# the template moves the text about. They carry a nonce: no conversation can forge them.
_NONCE = secrets.token_hex(8)
BLOCK_BEGIN = f"\x02{_NONCE}\x02"
BLOCK_END = f"\x03{_NONCE}\x03"


class GenerationBlocks(Extension):
    """`{% generation %} ... {% endgeneration %}`: transformers' way to say which text an assistant produced."""

    tags = {"generation"}  # noqa: RUF012 (Jinja's API)

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_mark"), [], [], body).set_lineno(line)

    def _mark(self, caller: Callable[[], str]) -> str:
        return BLOCK_BEGIN + caller() + BLOCK_END


def make_environment() -> ImmutableSandboxedEnvironment:
    """A sandbox in which any chat template made for transformers runs: its whitespace rules, filters and functions.

    `strftime_now` is missing: it is a variable of each rendering, as the moment is the run's.
    """
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[GenerationBlocks, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    return environment


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Jinja's own filter escapes HTML characters; a prompt wants the text as it is."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: str) -> NoReturn:
    raise TemplateError(message)
