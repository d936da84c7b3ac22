"""Errors a user can cause: what is wrong, then what to do."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches


class UserError(Exception):
    """A mistake the user can fix.

    `message` says what is wrong (value, file, line), and `hint` says what to do about it. The command line prints both,
    without a traceback, and exits with code 1.
    """

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}" if self.hint else self.message


@dataclass(frozen=True)
class Problem:
    """What a check found wrong: the message and hint of a UserError not yet raised."""

    message: str
    hint: str


def as_problem(error: UserError) -> Problem:
    """Convert a UserError to a Problem, so that it can be listed with others."""
    return Problem(error.message, error.hint or "")


def refuse(problems: Iterable[Problem]) -> None:
    """Raise one UserError that lists every problem with its fix.

    Without problems, do nothing.

    Raises:
        UserError: There is a problem. A single problem reads as if it had been raised directly.
    """
    found = list(dict.fromkeys(problems))
    if len(found) == 1:
        raise UserError(found[0].message, found[0].hint or None)
    if found:
        listed = "".join(f"\n  {number}. {each.message} {each.hint}" for number, each in enumerate(found, start=1))
        raise UserError(f"There are {len(found)} problems:{listed}", "Fix each of them; nothing was started.")


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """Return `Did you mean "x"?` for the closest match, or None without one.

    A dotted key is compared as a whole first, then by its last part, so `trian.train_iters` and `train.train_itres`
    both find `train.train_iters`.
    """
    candidates = list(dict.fromkeys(known))
    near = get_close_matches(word, candidates, n=1, cutoff=0.6)
    if not near:
        by_leaf = {name.rsplit(".", 1)[-1]: name for name in reversed(candidates)}
        near = [by_leaf[leaf] for leaf in get_close_matches(word.rsplit(".", 1)[-1], by_leaf, n=1, cutoff=0.75)]
    return f'Did you mean "{near[0]}"?' if near else None
