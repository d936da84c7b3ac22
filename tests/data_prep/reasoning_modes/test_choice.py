"""Shares, nesting and budgets over up to 100,000 content hashes; the modes that rows say for themselves."""

from dataclasses import replace
from functools import cache
from hashlib import sha256

import numpy as np
import pytest

from nemotron.data_prep.chat.conversation import Conversation
from nemotron.data_prep.config import BudgetConfig, ReasoningConfig
from nemotron.data_prep.drop_reasons import RowError
from nemotron.data_prep.reasoning_modes import choice
from nemotron.data_prep.reasoning_modes.choice import BudgetControl, ReasoningControl, choose, draw_budget, steer
from nemotron.data_prep.reasoning_modes.mode import Mode
from nemotron.data_prep.reasoning_modes.row import list_unknown_kwargs, read_own_mode
from nemotron.data_prep.reasoning_modes.settings import merge_control

COUNT = 10_000


@cache
def hashes(count: int = COUNT) -> list[bytes]:
    return [sha256(str(number).encode()).digest()[:16] for number in range(count)]


@cache
def choose_all(budget: float | None = None, count: int = COUNT, **settings) -> list[Mode]:
    """The mode of each hash; `budget` is a share."""
    control = ReasoningControl(budget=BudgetControl(budget, 64, 1024) if budget else None, **settings)
    return [choose(hash, control) for hash in hashes(count)]


def chosen(mode: Mode, **settings) -> set[int]:
    """The positions of the hashes for which a mode is chosen."""
    return {place for place, other in enumerate(choose_all(**settings)) if other is mode}


@pytest.mark.parametrize("seed", [0, 42])
def test_shares_are_as_asked(seed):
    """The choices are independent: of 100,000 at 12 %, chance alone moves the share by 0.1 points (one sigma)."""
    settings = {"off": 0.03, "budget": 0.12, "seed": seed, "count": 100_000}
    assert len(chosen(Mode.OFF, **settings)) / 100_000 == pytest.approx(0.03, abs=0.001)
    assert len(chosen(Mode.BUDGET, **settings)) / 100_000 == pytest.approx(0.12, abs=0.003)


def test_a_larger_share_contains_the_smaller_ones_choices():
    assert chosen(Mode.OFF, off=0.03) < chosen(Mode.OFF, off=0.05)
    assert chosen(Mode.BUDGET, budget=0.05) < chosen(Mode.BUDGET, budget=0.12)


def test_neither_share_moves_the_others_choices():
    assert chosen(Mode.OFF, off=0.03) == chosen(Mode.OFF, off=0.03, budget=0.9)
    assert chosen(Mode.BUDGET, budget=0.12) == chosen(Mode.BUDGET, budget=0.12, off=0.8)


def test_a_share_of_1_chooses_all_and_none_chooses_none():
    assert len(chosen(Mode.OFF, off=1.0)) == COUNT
    assert len(chosen(Mode.ON)) == COUNT


@pytest.mark.parametrize(
    ("control", "mode"),
    [
        (ReasoningControl(off=0.25), Mode.ON),
        (ReasoningControl(off=0.26), Mode.OFF),
        (ReasoningControl(budget=BudgetControl(0.75, 1, 9)), Mode.BUDGET),
        (ReasoningControl(budget=BudgetControl(0.74, 1, 9)), Mode.ON),
    ],
)
def test_a_share_begins_at_one_end_and_excludes_the_other(monkeypatch, control, mode):
    monkeypatch.setattr(choice, "_draw_fraction", lambda *_: 0.25)
    assert choose(bytes(16), control) is mode


def test_another_seed_chooses_others():
    one, other = chosen(Mode.OFF, off=0.03), chosen(Mode.OFF, off=0.03, seed=7)
    assert len(one & other) / len(one) == pytest.approx(0.03, abs=0.02)


@pytest.mark.parametrize("spacing", ["log", "linear"])
def test_budgets_fill_their_range_evenly(spacing):
    """Of the conversations that are chosen for one, too: the choice says nothing about the budget."""
    budget = BudgetControl(0.5, 64, 4096, spacing)
    few = [hash for hash in hashes(40_000) if choose(hash, ReasoningControl(budget=budget)) is Mode.BUDGET]
    drawn = np.array([draw_budget(hash, ReasoningControl().seed, budget) for hash in few])
    assert (drawn.min(), drawn.max()) == (64, 4096)
    middle = np.sqrt(64 * 4096) if spacing == "log" else (64 + 4096) / 2
    assert (drawn < middle).mean() == pytest.approx(0.5, abs=0.02)


def test_a_budget_may_have_one_value():
    assert {draw_budget(hash, 1, BudgetControl(1.0, 100, 100)) for hash in hashes()[:500]} == {100}


def test_the_choices_are_the_same_in_every_release():
    control = ReasoningControl(off=0.05, budget=BudgetControl(0.05, 64, 4096), seed=42)
    modes = [choose(hash, control) for hash in hashes()[:100]]
    assert [place for place, mode in enumerate(modes) if mode is Mode.OFF] == [3, 6, 7, 70, 73, 88, 90]
    assert [place for place, mode in enumerate(modes) if mode is Mode.BUDGET] == [23, 36, 46, 55, 79, 83]
    drawn = [draw_budget(hashes()[0], 42, BudgetControl(1.0, 64, 4096, spacing)) for spacing in ("log", "linear")]
    assert drawn == [1648, 3214]


def test_only_a_conversation_chosen_for_a_budget_is_cut():
    class Characters:
        def cut(self, text, tail, most):
            return text[: most - len(tail)]

    control = ReasoningControl(off=0.05, budget=BudgetControl(0.05, 64, 4096), seed=42)
    said = Conversation([{"role": "assistant", "content": "Yes.", "reasoning_content": "Hm. " * 4096}], None)
    steered = {place: steer(said, hashes()[place], None, control, Characters()) for place in (0, 3, 23)}
    assert [one.mode for one in steered.values()] == [Mode.ON, Mode.OFF, Mode.BUDGET]
    assert steered[0].conversation == said
    assert "reasoning_content" not in steered[3].conversation.messages[0]
    [cut] = steered[23].conversation.messages
    budget = steered[23].options.get("reasoning_budget")
    assert budget is not None
    assert len(cut["reasoning_content"]) < budget <= 4096


@pytest.mark.parametrize(
    ("row", "mode", "options"),
    [
        ({"reasoning": "off"}, Mode.ROW_OFF, {}),
        ({"reasoning": "On"}, Mode.ROW_ON, {}),
        ({"reasoning": " off "}, Mode.ROW_OFF, {}),
        ({"reasoning": True}, Mode.ROW_ON, {}),
        ({"prompt": "2+2?", "completion": "4", "reasoning": "off"}, Mode.ROW_OFF, {}),
        ({"instruction": "2+2?", "output": "4", "reasoning": "on"}, Mode.ROW_ON, {}),
        ({"reasoning": "off", "chat_template_kwargs": {"enable_thinking": False}}, Mode.ROW_OFF, {}),
        ({"chat_template_kwargs": {"enable_thinking": False}}, Mode.ROW_OFF, {}),
        ({"chat_template_kwargs": '{"enable_thinking": true}'}, Mode.ROW_ON, {}),
        ({"chat_template_kwargs": {"low_effort": True}}, Mode.ROW_LOW_EFFORT, {"low_effort": True}),
        ({"chat_template_kwargs": {"reasoning_budget": 512}}, Mode.ROW_BUDGET, {"reasoning_budget": 512}),
        ({"chat_template_kwargs": {"reasoning_budget": 0}}, Mode.ROW_BUDGET, {"reasoning_budget": 0}),
        (
            {"chat_template_kwargs": {"truncate_history_thinking": False}},
            Mode.ROW_ON,
            {"truncate_history_thinking": False},
        ),
    ],
)
def test_a_row_says_its_own_mode(row, mode, options):
    assert read_own_mode({"messages": [], **row}) == (mode, options)


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"reasoning": None},
        {"reasoning": ""},
        {"reasoning": "The answer follows from the second law."},
        {"reasoning": "It is easy"},
        {"reasoning": "a" * 17},
        {"chat_template_kwargs": {}},
        {"chat_template_kwargs": ""},
        {"chat_template_kwargs": None},
        {"chat_template_kwargs": {"enable_thinking": None}},
        {"chat_template_kwargs": {"add_generation_prompt": True}},
        {"prompt": "2+2?", "completion": "4", "reasoning": "easy"},
    ],
)
def test_a_row_says_no_mode(row):
    assert read_own_mode(row) is None


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ({"reasoning": "maybe"}, "maybe"),
        ({"reasoning": "a" * 16}, "a" * 16),
        ({"reasoning": 3}, "3"),
        ({"chat_template_kwargs": {"enable_thinking": "no"}}, "enable_thinking"),
        ({"chat_template_kwargs": {"reasoning_budget": -1}}, "reasoning_budget"),
        ({"chat_template_kwargs": {"reasoning_budget": 1.5}}, "1.5"),
        ({"chat_template_kwargs": {"low_effort": 1}}, "low_effort"),
        ({"chat_template_kwargs": "{"}, "broken JSON"),
        ({"chat_template_kwargs": [1]}, "not an object"),
        ({"reasoning": "on", "chat_template_kwargs": {"enable_thinking": False}}, "enable_thinking"),
        ({"reasoning": "off", "chat_template_kwargs": {"low_effort": True}}, "low_effort"),
        ({"chat_template_kwargs": {"enable_thinking": False, "reasoning_budget": 5}}, "reasoning_budget"),
    ],
)
def test_an_impossible_mode_is_refused_by_name(row, named):
    with pytest.raises(RowError, match="bad_reasoning_mode") as error:
        read_own_mode(row)
    assert named in error.value.detail


def test_unknown_kwargs_are_named():
    row = {"chat_template_kwargs": {"enable_thinking": True, "tools_in_user": True, "empty": None}}
    assert list_unknown_kwargs(row) == ["tools_in_user"]


def test_what_a_row_says_goes_before_its_dataset():
    thinks = Conversation([{"role": "assistant", "content": "4", "reasoning_content": "hm"}])
    control = ReasoningControl(off=1.0)
    assert steer(thinks, hashes()[0], None, control).mode is Mode.OFF
    assert steer(thinks, hashes()[0], (Mode.ROW_ON, {}), control).mode is Mode.ROW_ON
    assert steer(thinks, hashes()[0], None, ReasoningControl(off=1.0, low_effort=True)).options == {"low_effort": True}


@pytest.mark.parametrize(
    ("message", "content"),
    [
        ({"content": "4", "reasoning_content": "hm"}, "4"),
        ({"content": "<think>\nhm\n</think>\n\n4"}, "4"),
        ({"content": "a </think> tag", "reasoning_content": "hm"}, "a </think> tag"),
    ],
)
def test_off_removes_thoughts_wherever_they_stand(message, content):
    steered = steer(Conversation([{"role": "assistant", **message}]), hashes()[0], None, ReasoningControl(off=1.0))
    assert steered.conversation.messages == [{"role": "assistant", "content": content}]


def test_the_settings_of_a_dataset_replace_those_of_the_config():
    budget = BudgetConfig(share=0.25, tokens=[64, 128], spacing="linear", tell=False, train="all", cut="newline")
    config = ReasoningConfig(off=0.1, budget=budget, seed=7)
    control = BudgetControl(0.25, 64, 128, "linear", False, "all", "newline")
    assert merge_control(config, None, "chat") == ReasoningControl(0.1, False, control, 7)
    own = {"off": 0.2, "effort": "low", "budget": {"share": 0.0}}
    assert merge_control(config, own, "chat") == ReasoningControl(0.2, True, None, 7)
    assert merge_control(config, {"budget": {"tokens": [8, 9]}}, "chat").budget == replace(control, least=8, most=9)


def test_what_the_template_reads_is_known() -> None:
    known = {"enable_thinking": True, "low_effort": False, "reasoning_budget": 5, "truncate_history_thinking": False}
    assert list_unknown_kwargs({"chat_template_kwargs": {**known, "other": 1, "absent": None}}) == ["other"]


@pytest.mark.parametrize("known", [None, False])
def test_a_conversation_without_reasoning_has_no_mode_to_choose(known: bool | None) -> None:
    plain = Conversation([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}])
    steered = steer(plain, b"0" * 16, None, ReasoningControl(off=1.0), reasons=known)
    assert (steered.conversation, steered.mode, steered.options) == (plain, Mode.NO_REASONING, {})
    assert steered.why == "it has no reasoning"


def test_what_is_known_of_a_conversation_is_not_looked_for_again() -> None:
    """Parsing has looked at every message already."""
    plain = Conversation([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}])
    assert steer(plain, b"0" * 16, None, ReasoningControl(), reasons=True).mode is Mode.ON


@pytest.mark.parametrize("row", [None, [], "reasoning", {}, {"chat_template_kwargs": None}, {"reasoning": None}])
def test_a_row_that_says_nothing_of_reasoning_sets_no_mode(row: object) -> None:
    assert read_own_mode(row) is None
    assert list_unknown_kwargs(row) == []


@pytest.mark.parametrize("prompt", ["prompt", "instruction"])
def test_beside_a_prompt_reasoning_may_be_the_thought(prompt: str) -> None:
    assert read_own_mode({prompt: "Hi", "reasoning": "A-long-thought-without-blanks"}) is None
    assert read_own_mode({prompt: "Hi", "reasoning": "off"}) == (Mode.ROW_OFF, {})


@pytest.mark.parametrize(
    ("kwargs", "problem"),
    [
        ({"enable_thinking": "yes"}, "enable_thinking is 'yes', not true or false"),
        ({"reasoning_budget": "many"}, "reasoning_budget is 'many', not a whole number of tokens"),
        ({"low_effort": "x" * 50}, f"low_effort is '{'x' * 39}, not true or false"),
    ],
)
def test_a_value_that_is_none_is_shown_with_what_it_should_be(kwargs: dict[str, object], problem: str) -> None:
    with pytest.raises(RowError) as refused:
        read_own_mode({"chat_template_kwargs": kwargs})
    assert problem in refused.value.detail
