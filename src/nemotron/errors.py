"""Errors a user can cause: what is wrong, then what to do."""

import contextlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher, get_close_matches
from typing import Literal

_PAGES = {"model": "https://huggingface.co", "dataset": "https://huggingface.co/datasets"}


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
    both find `train.train_iters`. The parts that differ must be similar by themselves: of two files in one folder, or
    two keys of one section, most is the same anyway.
    """
    candidates = list(dict.fromkeys(known))
    near = [name for name in get_close_matches(word, candidates, n=5, cutoff=0.6) if _is_close(word, name)]
    if not near and "/" not in word:
        by_leaf = {name.rsplit(".", 1)[-1]: name for name in reversed(candidates)}
        near = [by_leaf[leaf] for leaf in get_close_matches(word.rsplit(".", 1)[-1], by_leaf, n=1, cutoff=0.75)]
    return f'Did you mean "{near[0]}"?' if near else None


def _is_close(word: str, name: str) -> bool:
    """Tell whether what differs between two keys or paths is similar."""
    parts, others = (re.split(r"\W|_", text) for text in (word, name))
    for at in (0, -1):
        while parts and others and parts[at] == others[at]:
            del parts[at], others[at]
    return not parts or not others or SequenceMatcher(None, " ".join(parts), " ".join(others)).ratio() >= 0.5


@contextlib.contextmanager
def explain_hub_errors(
    subject: str, kind: Literal["model", "dataset"], repo: str, revision: str | None
) -> Iterator[None]:
    """Ask the hub for something inside.

    Args:
        subject: Begins each message: `The model org/name`.
        kind: The kind of repository.
        repo: Its id, `org/name`.
        revision: The branch, tag or commit that is asked for.

    Raises:
        UserError: The repository is gated, has no such revision, does not exist, or the hub is out of reach.
    """
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError:
        raise UserError(
            f"{subject} is gated, and this account may not read it.",
            f"Ask for access at {_PAGES[kind]}/{repo}, then set HF_TOKEN or run: hf auth login",
        ) from None
    except errors.RevisionNotFoundError:
        raise UserError(f"{subject} has no revision {revision}.", "Give a branch, a tag or a commit.") from None
    except errors.RepositoryNotFoundError:
        raise UserError(
            f"{subject} does not exist on the hub, or is private.",
            f"Check the name; for a private {kind} set HF_TOKEN or run: hf auth login",
        ) from None
    except Exception as error:  # from the library or its HTTP client: the hub cannot be reached
        if isinstance(error, OSError) and error.filename is not None:  # the disk of this machine
            raise
        raise UserError(
            f"{subject} cannot be read from the hub: {first_line(error)}.",
            f"Check the network and HF_ENDPOINT, or download the {kind} elsewhere and give its local path.",
        ) from None


def first_line(error: Exception) -> str:
    """Return the first line of what an error says, without its full stop."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].rstrip(".")
