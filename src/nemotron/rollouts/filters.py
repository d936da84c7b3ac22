"""Filter the completions that become rows.

Filters look at the length, compare with a reference answer, or call a function of the user.
"""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nemotron.errors import UserError, did_you_mean
from nemotron.rollouts.config import FilterConfig

Row = dict[str, Any]
Filter = Callable[[Row], str | None]
"""Returns why a row is left out, or None to keep it."""

BOXED = "\\boxed{"


def make_filters(config: FilterConfig) -> list[Filter]:
    """Make the filters of a config, in the order in which they are applied.

    Raises:
        UserError: The user's function cannot be imported.
    """
    filters: list[Filter] = []
    if config.min_tokens is not None or config.max_tokens is not None:
        filters.append(_filter_by_length(config.min_tokens, config.max_tokens))
    if config.exact_match:
        filters.append(_filter_by_reference)
    if config.function is not None:
        filters.append(_filter_by_function(config.function))
    return filters


def matches(answer: str, reference: str) -> bool:
    r"""Tell whether an answer equals the reference.

    Either the whole text or the content of the last `\boxed{}` has to equal it, ignoring whitespace.
    """
    reference = reference.strip()
    return (
        answer.strip() == reference
        or (_find_boxed(answer) or "").strip() == (_find_boxed(reference) or reference).strip()
    )


def _find_boxed(text: str) -> str | None:
    r"""Return the content of the last `\boxed{...}` of a text, with nested braces."""
    start = text.rfind(BOXED)
    if start < 0:
        return None
    depth, begin = 1, start + len(BOXED)
    for position in range(begin, len(text)):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if depth == 0:
            return text[begin:position]
    return None


def _filter_by_length(least: int | None, most: int | None) -> Filter:
    def reason(row: Row) -> str | None:
        tokens = row["rollout"]["tokens"]
        if tokens is None:
            raise UserError(
                "The endpoint does not count tokens, so filter.min_tokens and filter.max_tokens cannot be applied.",
                "Set both to null; the completions are kept in the journal.",
            )
        return "length" if tokens < (least or 0) or (most is not None and tokens > most) else None

    return reason


def _filter_by_reference(row: Row) -> str | None:
    reference = row["reference"]
    if reference is None:
        return "no_reference"
    return None if matches(row["messages"][-1]["content"], reference) else "wrong_answer"


def _filter_by_function(path: str) -> Filter:
    function = _import(path)

    def reason(row: Row) -> str | None:
        try:
            is_kept = function(row)
        except Exception as error:  # the user's function may raise anything
            problem = f"{type(error).__name__}: {error}"
            raise UserError(
                f"filter.function {path} failed on the row {row['rollout']['key']}: {problem}.",
                "Fix it and run again; the completions are kept in the journal.",
            ) from error
        return None if is_kept else "function"

    return reason


def _import(path: str) -> Callable[[Row], object]:
    """Import the function `package.module:function`.

    Modules in the working directory can be imported too.
    """
    module_name, _, name = path.partition(":")
    if not module_name or not name:
        raise UserError(f'filter.function is "{path}".', "Write it as package.module:function.")
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # importing runs the user's code
        raise UserError(
            f"filter.function: cannot import {module_name}: {type(error).__name__}: {error}.",
            "The module must be installed, or be in the working directory.",
        ) from error
    finally:
        sys.path.remove(here)
    function = getattr(module, name, None)
    if not callable(function):
        problem = "is not a function" if hasattr(module, name) else "does not exist"
        hint = did_you_mean(name, [known for known in vars(module) if not known.startswith("_")])
        raise UserError(f"filter.function: {path} {problem}.", hint or "Name a function of that module.")
    return function
