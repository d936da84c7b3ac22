"""A user's mistakes: one reads as a sentence and its fix, several as a list."""

import pytest

from nemotron.errors import Problem, UserError, refuse


def test_without_a_problem_nothing_is_refused():
    refuse([])


def test_one_problem_reads_as_if_it_had_been_raised_itself():
    with pytest.raises(UserError) as error:
        refuse([Problem("a is 1.", "Use 2.")])
    assert (error.value.message, error.value.hint) == ("a is 1.", "Use 2.")


def test_several_are_listed_each_with_its_fix_and_none_twice():
    with pytest.raises(UserError) as error:
        refuse([Problem("a is 1.", "Use 2."), Problem("b is 3.", "Use 4."), Problem("a is 1.", "Use 2.")])
    assert error.value.message.splitlines()[1:] == ["  1. a is 1. Use 2.", "  2. b is 3. Use 4."]
    assert error.value.hint
