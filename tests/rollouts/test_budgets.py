"""Evaluating budgets against an endpoint whose thoughts have a known length."""

import json

import pytest

from nemotron.errors import UserError
from nemotron.rollouts.budgets import (
    BudgetResult,
    _measure,
    count_thought_tokens,
    evaluate_budgets,
    make_cells,
    parse_budgets,
)
from nemotron.rollouts.reply import Outcome, Reply, read_reply
from nemotron.rollouts.run import make_plan


def test_shares_within_and_exact_matches_of_each_budget(endpoint, questions, make_config):
    """`question 0` to `question 11`: the endpoint counts a token per character of the question, 10 or 11 of them."""
    endpoint.message = lambda question: {"content": question.upper() if question[-1] != "3" else "no", **THOUGHT}
    plan = make_plan(make_config(questions(12)))
    results, folder = evaluate_budgets(plan, [4, 8])
    assert {request["chat_template_kwargs"]["reasoning_budget"] for request in endpoint.requests} == {4, 8}
    assert [(result.budget, result.answers, result.exact) for result in results] == [
        (4, 12, pytest.approx(11 / 12)),
        (8, 12, pytest.approx(11 / 12)),
    ]
    assert results[0].within is not None
    assert results[0].within < 1
    assert results[1].within == 1
    assert [entry["budget"] for entry in json.loads((folder / "budgets.json").read_text())] == [4, 8]
    page = (folder / "budgets.html").read_text()
    assert page.count('<figure class="chart">') == 1
    assert '"x":[4,8]' in page

    evaluate_budgets(plan, [4, 8])
    assert len(endpoint.requests) == 24  # nothing is asked twice


THOUGHT = {"reasoning_content": "123456"}


def test_the_servers_count_of_a_thought_goes_first():
    usage = {"completion_tokens": 30, "completion_tokens_details": {"reasoning_tokens": 21}}
    message = {"content": "four", "reasoning_content": "hmmm"}
    assert count_thought_tokens(read_reply({"choices": [{"message": message}], "usage": usage})) == 21
    assert count_thought_tokens(Reply(Outcome.COMPLETED, message, tokens=30)) == 15
    assert count_thought_tokens(Reply(Outcome.COMPLETED, message)) is None


def test_budgets_are_sorted_numbers():
    assert parse_budgets("256, 64,64,1") == [1, 64, 256]
    for text in ("", "0", "64,x", "-3", "1.5"):
        with pytest.raises(UserError, match="--budgets"):
            parse_budgets(text)


@pytest.mark.parametrize(
    ("result", "cells"),
    [
        (BudgetResult(64, 1200, 1100, 0.5, 61.6, 0.25, 8), ("64", "1,200", "1,100", "50.0%", "62", "25.0%")),
        (BudgetResult(1024, 1, 0, None, None, None, 0), ("1,024", "1", "0", "-", "-", "-")),
    ],
)
def test_what_was_not_measured_is_a_dash(result, cells):
    assert make_cells(result) == cells


def test_only_whole_answers_are_measured():
    """A request may have failed, and a thought may have filled all tokens that there were."""
    unfinished = Reply(Outcome.UNFINISHED, {"content": ""}, tokens=90, thought_tokens=90)
    answers = [Reply(Outcome.COMPLETED, {"content": "4"}, tokens=30, thought_tokens=tokens) for tokens in (8, 9)]
    result = _measure(8, [("4", None), ("4", unfinished), ("4", answers[0]), ("5", answers[1]), (None, answers[1])])
    assert (result.completions, result.answers, result.exact, result.references) == (5, 3, 1 / 2, 2)
    assert (result.within, result.thought_tokens) == (1 / 3, 26 / 3)
