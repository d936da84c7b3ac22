"""What a run of rollouts says before and after: its plan, its progress, and metadata.json."""

import json
from dataclasses import asdict

import pytest

from nemotron.errors import UserError
from nemotron.rollouts.collect import State
from nemotron.rollouts.run import make_plan, roll_out


def test_the_plan_says_what_will_be_asked_and_where(questions, make_config):
    source = questions(3)
    with source.open("a") as file:
        file.write('{"messages": []}\n')
    plan = make_plan(make_config(source, prompts__per_prompt=2, endpoint__requests_per_minute=6000))
    assert plan.rows() == [
        ("prompts", f"3 of 3 different prompts in {source}"),
        ("rows without a prompt", "1 of 4"),
        ("with a reference", "3"),
        ("completions", "6, 2 for each prompt"),
        ("endpoint", f"{plan.config.endpoint.base_url}, 8 requests at a time, 6,000 a minute"),
        ("model", "the one that the endpoint serves"),
        ("model artifact", "not recorded"),
        ("writes to", str(plan.output_dir)),
    ]


def test_metadata_says_how_the_rows_were_made(endpoint, questions, make_config):
    endpoint.message = lambda question: {"content": "" if question == "question 0" else "Yes."}
    config = make_config(questions(3), filter__max_tokens=100)
    result = roll_out(make_plan(config))
    assert (result.rows.name, result.blend.name) == ("rollouts.jsonl", "blend.json")
    assert json.loads((result.rows.parent / "metadata.json").read_text()) == {
        "model": "tiny", "model_artifact": None, "sampling": asdict(config.sampling), "endpoint": endpoint.url,
        "prompts": {
            "source": config.prompts.source, "seed": 42, "chosen": 3, "available": 3, "rows": 3, "unusable": 0,
        },
        "filter": {"min_tokens": None, "max_tokens": 100, "exact_match": False, "function": None},
        "completions": {"asked": 3, "rows": 2, "left_out": {"empty": 1}, "with_reasoning": 0, "tokens": 20},
        "failed": 0, "retried": 0,
    }  # fmt: skip


def test_progress_begins_with_what_the_journal_has(questions, make_config):
    source, states = questions(4), []
    roll_out(make_plan(make_config(source, prompts__samples=3)))
    roll_out(make_plan(make_config(source)), states.append)
    assert (states[0], states[-1][:2]) == (State(3, 4, 0, 0), (4, 4))


def test_the_first_run_may_be_forced(questions, make_config):
    assert roll_out(make_plan(make_config(questions(1), force=True))).counts.rows == 1


def test_a_model_artifact_that_there_is_not_is_named_with_the_setting(questions, make_config):
    with pytest.raises(UserError, match="Nobody") as error:
        make_plan(make_config(questions(1), model_artifact="Nobody:v1"))
    assert "model_artifact" in (error.value.hint or "")
