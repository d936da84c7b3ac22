"""Choose the reasoning mode that a conversation trains in.

The row may set it; otherwise a hash of the content decides. The choice depends only on the content and a seed, not on
the order of rows, the workers or other datasets. The hash gives a fraction: `off` takes the lowest fractions and a
budget the highest. So a larger share includes the choices of a smaller one, and neither share changes the choices of
the other.
"""

import math
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal, NamedTuple

from nemotron.data_prep.chat.conversation import Conversation
from nemotron.data_prep.chat.reasoning import any_reasoning
from nemotron.data_prep.chat.template import RenderOptions
from nemotron.data_prep.reasoning_modes.mode import Mode
from nemotron.data_prep.reasoning_modes.thoughts import TokenBorders, cut_thoughts, remove_reasoning

Spacing = Literal["log", "linear"]
Trained = Literal["answer", "all"]
CutAt = Literal["token", "newline"]


@dataclass(frozen=True)
class BudgetControl:
    """Which thoughts are cut to a budget, and how."""

    share: float
    least: int
    most: int
    """Budgets are drawn between `least` and `most` tokens."""
    spacing: Spacing = "log"
    tell: bool = True
    """Write the budget into the last user turn, as the template does."""
    train: Trained = "answer"
    """Supervise only from the closing tag on, or the cut thought too."""
    cut: CutAt = "token"


@dataclass(frozen=True)
class ReasoningControl:
    """The reasoning settings of a dataset.

    They are the config's `reasoning`, with the dataset's own on top.
    """

    off: float = 0.0
    low_effort: bool = False
    """Every conversation carries the low-effort flag."""
    budget: BudgetControl | None = None
    seed: int = 42


class Steered(NamedTuple):
    """A conversation, changed for its mode."""

    conversation: Conversation
    mode: Mode
    options: RenderOptions
    """Options for the template."""
    why: str


def steer(
    conversation: Conversation,
    hash: bytes,
    own: tuple[Mode, RenderOptions] | None,
    control: ReasoningControl,
    borders: TokenBorders | None = None,
    reasons: bool | None = None,
) -> Steered:
    """Choose a conversation's mode, and change the conversation accordingly.

    Args:
        conversation: The parsed conversation.
        hash: Its content hash, 16 bytes.
        own: The mode that its row sets (`read_own_mode`).
        control: The settings of its dataset.
        borders: Finds the token at which to cut a thought; needed if the settings have a budget.
        reasons: Whether an answer has reasoning, if known.
    """
    reasons = any_reasoning(conversation.messages) if reasons is None else reasons
    if own is not None:
        mode, options = own
        changed = remove_reasoning(conversation) if mode is Mode.ROW_OFF and reasons else conversation
        return Steered(changed, mode, options, "the row says so")
    if control.low_effort:
        return Steered(conversation, Mode.LOW_EFFORT, {"low_effort": True}, "its dataset has effort: low")
    if not reasons:
        return Steered(conversation, Mode.NO_REASONING, {}, "it has no reasoning")
    mode, fraction = choose(hash, control), _draw_fraction(hash, control.seed, b"mode")
    if mode is Mode.OFF:
        why = f"its fraction {fraction:.4f} is below off={control.off:g}"
        return Steered(remove_reasoning(conversation), mode, {}, why)
    if mode is Mode.BUDGET and control.budget is not None and borders is not None:
        return _cut_to_budget(conversation, hash, control, control.budget, borders)
    return Steered(conversation, Mode.ON, {}, f"its fraction {fraction:.4f} is in no share")


def choose(hash: bytes, control: ReasoningControl) -> Mode:
    """Choose the mode of a conversation with reasoning: OFF, BUDGET or ON.

    Only the hash and the settings decide it.
    """
    if not control.off and control.budget is None:
        return Mode.ON
    fraction = _draw_fraction(hash, control.seed, b"mode")
    if fraction < control.off:
        return Mode.OFF
    if control.budget is not None and 1 - fraction <= control.budget.share:
        return Mode.BUDGET
    return Mode.ON


def draw_budget(hash: bytes, seed: int, budget: BudgetControl) -> int:
    """Draw the budget of a conversation, in tokens.

    It follows from the content and the seed, on a linear or a logarithmic scale.
    """
    fraction, ends = _draw_fraction(hash, seed, b"budget"), budget.most + 1
    if budget.spacing == "linear":
        drawn = budget.least + fraction * (ends - budget.least)
    else:
        drawn = budget.least * math.exp(fraction * math.log(ends / budget.least))
    return min(int(drawn), budget.most)


def _cut_to_budget(
    conversation: Conversation, hash: bytes, control: ReasoningControl, budget: BudgetControl, borders: TokenBorders
) -> Steered:
    drawn = draw_budget(hash, control.seed, budget)
    changed, cuts = cut_thoughts(conversation, drawn, borders, answer_only=budget.train == "answer")
    if not cuts:
        why = f"every thought is within the {drawn} tokens drawn for it"
        return Steered(conversation, Mode.WITHIN_BUDGET, {}, why)
    options: RenderOptions = {"reasoning_budget": drawn} if budget.tell else {}
    return Steered(changed, Mode.BUDGET, options, f"{cuts} thoughts are cut to {drawn} tokens")


def _draw_fraction(hash: bytes, seed: int, purpose: bytes) -> float:
    """Return a number in [0, 1) that differs for every content, seed and purpose."""
    digest = blake2b(hash, digest_size=8, key=seed.to_bytes(8, "little"), person=purpose).digest()
    return (int.from_bytes(digest, "little") >> 11) / 2**53
