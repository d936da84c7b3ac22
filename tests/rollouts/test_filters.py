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
        (r"\boxed{ 42 }", " 42\n", True),
        (r"\boxed{42}", r"\boxed{ 42 }", True),
        (r"\boxed{}", "", True),
    ],
)
def test_matches(answer, reference, same):
    assert matches(answer, reference) is same


@pytest.mark.parametrize(
    ("least", "most", "kept"), [(10, 20, [10, 20]), (None, 20, [9, 10, 20]), (10, None, [10, 20, 21])]
)
def test_the_length_may_be_from_the_least_to_the_most(least, most, kept):
    (keep,) = make_filters(FilterConfig(min_tokens=least, max_tokens=most))
    found = {tokens: keep({"rollout": {"tokens": tokens}}) for tokens in (9, 10, 20, 21)}
    assert [tokens for tokens, reason in found.items() if reason is None] == kept
    assert {*found.values()} == {None, "length"}


def test_a_length_that_nobody_counted_is_no_length():
    (keep,) = make_filters(FilterConfig(max_tokens=20))
    with pytest.raises(UserError, match="does not count tokens"):
        keep({"rollout": {"tokens": None}})


def test_filters_are_applied_from_the_cheapest_on_and_none_is_the_default():
    assert make_filters(FilterConfig()) == []
    length, reference, function = make_filters(FilterConfig(min_tokens=1, exact_match=True, function="json:dumps"))
    row = {"messages": [{"content": "4"}], "reference": None, "rollout": {"tokens": 0, "key": "a"}}
    assert (length(row), reference(row), function(row)) == ("length", "no_reference", None)
    assert [reference({**row, "reference": given}) for given in ("4", "5")] == [None, "wrong_answer"]


@pytest.mark.parametrize(
    ("path", "problem", "hint"),
    [
        ("no_colon", "no_colon", "package.module:function"),
        (":keep", ":keep", "package.module:function"),
        ("json:", "json:", "package.module:function"),
        ("no_such_module:keep", "cannot import no_such_module", "working directory"),
        ("json:dmups", "does not exist", '"dumps"'),
        ("json:_default_decode", "does not exist", "Name a function"),  # nothing private is proposed
        ("json:__name__", "is not a function", "Name a function"),
    ],
)
def test_a_function_that_cannot_be_had(path, problem, hint):
    with pytest.raises(UserError, match=rf"filter\.function.*{problem}") as error:
        make_filters(FilterConfig(function=path))
    assert hint in (error.value.hint or "")


def test_a_function_that_fails_names_the_row():
    (keep,) = make_filters(FilterConfig(function="json:loads"))
    with pytest.raises(UserError, match=r"json:loads.*key-1"):
        keep({"rollout": {"key": "key-1"}})
