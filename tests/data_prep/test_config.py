"""Values of the data-prep config that are refused before anything is read."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from nemotron.config import load_config
from nemotron.data_prep.config import BudgetConfig, DataPrepConfig, ReasoningConfig, check, check_reasoning
from nemotron.errors import UserError


def settings(**changed: object) -> DataPrepConfig:
    config = DataPrepConfig(blend_path="chat.jsonl")
    for key, value in changed.items():
        *sections, name = key.split("__")
        owner: object = config
        for section in sections:
            owner = getattr(owner, section)
        setattr(owner, name, value)
    return config


@pytest.mark.parametrize(
    "changed",
    [
        {"pack_size": 2},
        {"pack_size": 64, "pad_to_multiple": 63},
        {"sample": 1},
        {"seed": 0},
        {"workers": None},
        {"train_ratio": 1.0, "valid_ratio": 0.0, "test_ratio": 0.0},
        {"reasoning__low_effort": 0.0},
        {"reasoning__low_effort": 0.99},
        {"reasoning__off": 1.0},
        {"reasoning__off": 0.5, "reasoning__budget": BudgetConfig(share=0.5)},
        {"reasoning__budget": BudgetConfig(share=1.0, tokens=[8, 8])},
    ],
)
def test_the_ends_of_a_range_are_in_it(changed: dict[str, object]) -> None:
    check(settings(**changed))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"pack_size": 1}, "pack_size is 1"),
        ({"pack_size": 2**31}, "pack_size is 2147483648"),
        ({"pack_size": 64, "pad_to_multiple": 64}, "pad_to_multiple is 64, pack_size 64"),
        ({"sample": 0}, "sample is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"blend__samples": 0}, r"blend\.samples is 0"),
        ({"messages_field": " "}, "messages_field is empty"),
        ({"output_dir": ""}, "output_dir is empty"),
        ({"run__artifacts": ""}, r"run\.artifacts is empty"),
        ({"blend_path": ""}, "No data"),
        ({"train_ratio": 0.9, "valid_ratio": 0.0, "test_ratio": 0.0}, "train_ratio"),
        ({"train_ratio": 1.1, "valid_ratio": -0.1, "test_ratio": 0.0}, "train_ratio"),
        ({"train_ratio": float("nan")}, "train_ratio"),
        ({"reasoning__low_effort": 1.0}, r"reasoning\.low_effort is 1"),
        ({"reasoning__low_effort": -0.1}, r"reasoning\.low_effort is -0\.1"),
        ({"reasoning__seed": -1}, r"reasoning\.seed is -1"),
        ({"reasoning__off": 0.6, "reasoning__budget": BudgetConfig(share=0.5)}, r"off and .*share are 0\.6 and 0\.5"),
    ],
)
def test_what_is_out_of_range_is_named(changed: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        check(settings(**changed))


@pytest.mark.parametrize("tokens", [[], [8], [8, 9, 10], [7, 100], [100, 99], [8, 2**31]])
def test_budgets_are_two_numbers_in_order(tokens: list[int]) -> None:
    with pytest.raises(UserError, match=r"of_a_dataset\.budget\.tokens is \["):
        check_reasoning(0.0, BudgetConfig(tokens=tokens), "of_a_dataset.")


@pytest.mark.parametrize("share", [-0.01, 1.01, float("nan")])
@pytest.mark.parametrize(
    "section", [lambda share: (share, BudgetConfig()), lambda share: (0.0, BudgetConfig(share=share))]
)
def test_a_share_is_from_0_to_1(share: float, section: Callable[[float], tuple[float, BudgetConfig]]) -> None:
    with pytest.raises(UserError, match=r"(off|budget\.share) is"):
        check_reasoning(*section(share))


def test_the_defaults_pass() -> None:
    check(settings(reasoning=ReasoningConfig()))


def test_what_a_config_leaves_out_is_as_in_the_one_that_says_it() -> None:
    """config/data_prep/default.yaml lists every default; its blend and shares of reasoning modes are its own choice."""
    listed = load_config("default", group="data_prep", schema=DataPrepConfig).config
    reasoning = replace(listed.reasoning, off=0.0, low_effort=0.0)
    assert replace(listed, blend_path="", reasoning=reasoning) == DataPrepConfig()
