"""When an answer is the reference, and functions that cannot be had."""

import pytest

from nemotron.errors import UserError
from nemotron.rollouts.config import FilterConfig
from nemotron.rollouts.filters import make_filters, matches


@pytest.mark.parametrize(
    ("answer", "reference", "same"),
    [
        ("42", "42", True),
        (" 42\n", "42", True),
        ("The answer is 42", "42", False),
        (r"So it is \boxed{42}.", "42", True),
        (r"\boxed{41}, no, \boxed{\frac{1}{2}}", r"\frac{1}{2}", True),
        (r"\boxed{42}", r"Hence \boxed{42}", True),
        (r"\boxed{42", "42", False),
        (r"\boxed{}", "42", False),
    ],
)
def test_matches(answer, reference, same):
    assert matches(answer, reference) is same


@pytest.mark.parametrize("path", ["no_colon", "no_such_module:keep", "json:dmups", "json:__name__"])
def test_a_function_that_cannot_be_had(path):
    with pytest.raises(UserError, match=r"filter\.function"):
        make_filters(FilterConfig(function=path))


def test_a_function_that_fails_names_the_row():
    (keep,) = make_filters(FilterConfig(function="json:loads"))
    with pytest.raises(UserError, match=r"json:loads.*key-1"):
        keep({"rollout": {"key": "key-1"}})
