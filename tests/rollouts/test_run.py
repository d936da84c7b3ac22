"""Rollouts against an endpoint that fails, stalls and asks for pauses: no row twice, none missing."""

import json
import random
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from nemotron.data_prep.dialects.row import parse_row
from nemotron.errors import UserError
from nemotron.lineage import log_artifact
from nemotron.rollouts.run import make_plan, roll_out


def rows_of(result):
    return [json.loads(line) for line in result.rows.read_text().splitlines()]


def run(config):
    return roll_out(make_plan(config))


def test_a_completion_becomes_a_row_with_its_thought(endpoint, questions, make_config):
    result = run(make_config(questions(3)))
    rows = rows_of(result)
    assert sorted(row["messages"][0]["content"] for row in rows) == ["question 0", "question 1", "question 2"]
    for row in rows:
        question = row["messages"][0]["content"]
        assert row["messages"][1] == {
            "role": "assistant",
            "content": question.upper(),
            "reasoning_content": f"about {question}",
        }
        assert parse_row(row).messages[-1]["reasoning_content"] == f"about {question}"
        assert row["rollout"]["model"] == "tiny"
        assert (row["rollout"]["temperature"], row["rollout"]["max_tokens"]) == (1.0, 16384)
    assert result.counts.rows == result.counts.with_reasoning == 3


def test_the_artifact_names_the_model_it_came_from(questions, make_config, tmp_path):
    config = make_config(questions(2), model_artifact="ModelArtifact-sft")
    (tmp_path / "model").mkdir()
    log_artifact(name="ModelArtifact-sft", type="model", path=tmp_path / "model", root=config.run.artifacts)
    result = run(config)
    assert result.artifact.inputs == ["ModelArtifact-sft:v1", config.prompts.source]
    assert result.artifact.metadata["sampling"]["temperature"] == 1.0
    assert result.artifact.metadata["model"] == "tiny"
    assert (Path(result.artifact.path) / "rollouts.jsonl").is_file()


def test_a_finished_run_asks_for_nothing_again(endpoint, questions, make_config):
    config = make_config(questions(5))
    first = run(config)
    bytes_before = first.rows.read_bytes()
    second = run(config)
    assert len(endpoint.requests) == 5
    assert second.rows.read_bytes() == bytes_before
    assert second.artifact == first.artifact


def test_other_sampling_is_asked_for_anew_and_the_old_rows_stay(endpoint, questions, make_config):
    source = questions(2)
    first = run(make_config(source))
    old = Path(first.artifact.path) / "rollouts.jsonl"
    before = old.read_bytes()
    run(make_config(source, sampling__temperature=0.5))
    assert len(endpoint.requests) == 4
    assert old.read_bytes() == before


def test_more_samples_keep_the_completions_there_are(endpoint, questions, make_config):
    source = questions(40)
    few = {row["messages"][0]["content"] for row in rows_of(run(make_config(source, prompts__samples=10)))}
    many = {row["messages"][0]["content"] for row in rows_of(run(make_config(source, prompts__samples=25)))}
    assert len(few) == 10
    assert few < many
    assert len(endpoint.requests) == 25


@pytest.mark.slow
def test_failures_stalls_broken_replies_and_429_cost_no_row_and_double_none(endpoint, questions, make_config):
    kinds = ["500", "429", "stall", "half", "nonsense", "hang up"]

    def misbehave(server, request, before):
        question = request["messages"][-1]["content"]
        kind = random.Random(f"{question} {before}").choice([*kinds, "fine", "fine"]) if before < 3 else "fine"
        match kind:
            case "500":
                return 500, {}, b"oh"
            case "429":
                return 429, {"Retry-After": "0.05"}, b'{"error": {"message": "slow down"}}'
            case "stall":
                time.sleep(0.7)
            case "half":
                return 200, {"Content-Length": "500"}, b'{"choices": [{"mess'
            case "nonsense":
                return 200, {}, b"<html>a proxy speaking</html>"
            case "hang up":
                raise ConnectionResetError
        return None

    endpoint.misbehave = misbehave
    result = run(make_config(questions(60), endpoint__timeout_s=0.5, endpoint__retries=10))
    asked = Counter(row["messages"][0]["content"] for row in rows_of(result))
    assert asked == Counter(f"question {i}" for i in range(60))
    assert len(endpoint.requests) > 60


def test_retry_after_holds_every_request(endpoint, questions, make_config):
    endpoint.misbehave = lambda server, request, before: (
        (429, {"Retry-After": "0.4"}, b"") if len(server.requests) == 1 else None
    )
    run(make_config(questions(6), endpoint__concurrency=1))
    assert endpoint.times[1] - endpoint.times[0] >= 0.4
    assert len(endpoint.requests) == 7


def test_a_pause_longer_than_allowed_ends_the_run_and_keeps_what_there_is(endpoint, questions, make_config):
    endpoint.misbehave = lambda server, request, before: (
        (429, {"Retry-After": "7200"}, b"") if len(server.requests) == 4 else None
    )
    config = make_config(questions(6), endpoint__concurrency=1)
    with pytest.raises(UserError, match=r"7,200 s.*endpoint\.longest_wait_s"):
        run(config)
    endpoint.misbehave = lambda *_: None
    assert len(rows_of(run(config))) == 6
    assert len(endpoint.requests) == 7  # three before the pause, the refused one, the three that were left


def test_no_more_requests_are_sent_at_a_time_than_asked(endpoint, questions, make_config):
    endpoint.misbehave = lambda *_: time.sleep(0.02)
    run(make_config(questions(30), endpoint__concurrency=3))
    assert 1 < endpoint.most_at_once <= 3


@pytest.mark.parametrize(
    ("message", "finish", "outcome"),
    [
        ({"content": ""}, "stop", "empty"),
        ({"content": None, "reasoning_content": "hm"}, "stop", "empty"),
        ({"content": None, "refusal": "I cannot"}, "stop", "refused"),
        ({"content": "x"}, "content_filter", "refused"),
        ({"content": None, "reasoning_content": "hm"}, "length", "unfinished"),
        ({"content": "", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}, "stop", "bad_tool_arguments"),
    ],
)
def test_what_is_no_answer_is_counted_and_left_out(endpoint, questions, make_config, message, finish, outcome):
    endpoint.message = lambda question: {"content": "fine"} if question == "question 0" else message
    config = make_config(questions(3), endpoint__concurrency=1)
    endpoint.misbehave = lambda server, request, _: setattr(
        server, "finish_reason", "stop" if request["messages"][-1]["content"] == "question 0" else finish
    )
    result = run(config)
    assert result.counts.rows == 1
    assert result.counts.left_out == {outcome: 2}
    left_out = (result.rows.resolve().parent / "left_out.jsonl").read_text().splitlines()
    assert [json.loads(line)["reason"] for line in left_out] == [outcome] * 2


def test_a_thought_left_in_the_content_is_told_from_the_answer(endpoint, questions, make_config):
    endpoint.message = lambda question: {"content": f"hm, {question}\n</think>\nforty-two"}
    (row,) = rows_of(run(make_config(questions(1))))
    assert row["messages"][-1] == {"role": "assistant", "content": "forty-two", "reasoning_content": "hm, question 0"}


def test_filters_need_no_new_completions(endpoint, questions, make_config, tmp_path, monkeypatch):
    endpoint.message = lambda question: {"content": question.upper() if question.endswith("1") else "no idea"}
    source = questions(12)
    assert run(make_config(source)).counts.rows == 12
    assert run(make_config(source, filter__exact_match=True)).counts.left_out == {"wrong_answer": 10}
    assert run(make_config(source, filter__min_tokens=11)).counts.left_out == {"length": 10}
    (tmp_path / "my_filters.py").write_text("def keep(row):\n    return 'idea' in row['messages'][-1]['content']\n")
    monkeypatch.chdir(tmp_path)
    assert run(make_config(source, filter__function="my_filters:keep")).counts.left_out == {"function": 2}
    assert len(endpoint.requests) == 12


def test_a_request_the_endpoint_rejects_is_counted_when_others_succeed(endpoint, questions, make_config):
    endpoint.misbehave = lambda server, request, _: (
        (400, {}, b'{"error": {"message": "too long"}}') if request["messages"][-1]["content"] == "question 1" else None
    )
    result = run(make_config(questions(4)))
    assert (result.counts.rows, result.counts.left_out) == (3, {"rejected": 1})


def test_settings_that_the_endpoint_rejects_stop_the_run(endpoint, questions, make_config):
    endpoint.misbehave = lambda *_: (400, {}, b'{"error": {"message": "top_p must be below 1"}}')
    with pytest.raises(UserError, match="top_p must be below 1"):
        run(make_config(questions(30)))
    assert len(endpoint.requests) < 30


def test_a_dead_endpoint_stops_the_run_early_and_it_resumes(endpoint, questions, make_config):
    endpoint.misbehave = lambda server, *_: (503, {}, b"restarting") if len(server.requests) > 20 else None
    config = make_config(questions(100), endpoint__retries=1)
    with pytest.raises(UserError, match="restarting"):
        run(config)
    assert len(endpoint.requests) < 60
    endpoint.misbehave = lambda *_: None
    assert run(config).counts.rows == 100


def test_a_prompt_that_always_fails_blocks_unless_it_may_be_skipped(endpoint, questions, make_config):
    endpoint.misbehave = lambda server, request, _: (
        (500, {}, b"bug") if request["messages"][-1]["content"] == "question 1" else None
    )
    source = questions(4)
    with pytest.raises(UserError, match="1 of 4"):
        run(make_config(source, endpoint__retries=1))
    result = run(make_config(source, endpoint__retries=1, endpoint__skip_failed=True))
    assert (result.counts.rows, result.counts.left_out) == (3, {"failed": 1})


def test_the_key_comes_from_the_environment_and_is_written_nowhere(
    endpoint, questions, make_config, tmp_path, monkeypatch
):
    monkeypatch.setenv("MY_KEY", "sk-very-secret")
    config = make_config(questions(3), endpoint__api_key_env="MY_KEY")
    run(config)
    assert {headers["Authorization"] for headers in endpoint.headers_seen} == {"Bearer sk-very-secret"}
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 5
    assert not [path for path in written if b"sk-very-secret" in path.read_bytes()]

    endpoint.misbehave = lambda *_: (401, {}, b'{"error": {"message": "wrong key sk-very-secret"}}')
    with pytest.raises(UserError, match="MY_KEY") as error:
        run(make_config(questions(4), endpoint__api_key_env="MY_KEY"))
    assert "sk-very-secret" not in str(error.value)


def test_a_model_that_is_not_served(endpoint, questions, make_config):
    endpoint.models = ["super-sft", "nano"]
    with pytest.raises(UserError, match=r'Did you mean "super-sft"'):
        run(make_config(questions(1), endpoint__model="super-stf"))
    with pytest.raises(UserError, match=r"endpoint\.model"):
        run(make_config(questions(1)))


def test_nobody_listens(questions, make_config):
    with pytest.raises(UserError, match=r"127\.0\.0\.1:9"):
        run(make_config(questions(1), endpoint__base_url="http://127.0.0.1:9/v1", endpoint__retries=1))


def test_tools_and_calls_reach_the_endpoint_in_its_form(endpoint, make_config, tmp_path):
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}}
    messages = [
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "", "reasoning_content": "secret thought", "tool_calls": [call]},
        {"role": "tool", "content": "7", "tool_call_id": "1"},
        {"role": "assistant", "content": "seven"},
        {"role": "user", "content": "second"},
        {"role": "assistant", "content": "right"},
    ]
    path = tmp_path / "calls.jsonl"
    path.write_text(json.dumps({"messages": messages, "tools": [{"name": "f", "parameters": {}}]}) + "\n")
    result = run(make_config(path))
    (request,) = endpoint.requests
    assert request["messages"][1]["tool_calls"][0]["function"]["arguments"] == '{"a":1}'
    assert request["tools"] == [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    assert "secret thought" not in json.dumps(request)
    (row,) = rows_of(result)
    assert row["reference"] == "right"
    assert row["tools"] == [{"name": "f", "parameters": {}}]
    assert [message.get("train") for message in row["messages"]] == [None, False, None, False, None, None]


def test_everything_is_asked_again_where_that_is_forced(endpoint, questions, make_config):
    config = make_config(questions(2))
    run(config)
    run(config)
    assert len(endpoint.requests) == 2
    config.force = True
    run(config)
    assert len(endpoint.requests) == 4


def test_a_plan_says_what_is_asked_and_how_fast(questions, make_config):
    config = make_config(questions(3))
    rows = dict(make_plan(config).rows())
    assert rows["endpoint"] == f"{config.endpoint.base_url}, 8 requests at a time"
    assert (rows["prompts"].split(" in ")[0], rows["with a reference"]) == ("3 of 3 different prompts", "3")
    assert (rows["model"], rows["model artifact"]) == ("the one that the endpoint serves", "not recorded")
    config.endpoint.requests_per_minute, config.endpoint.model = 1200, "mine"
    plan = replace(make_plan(config), model_artifact=SimpleNamespace(reference="Model:v1"))
    rows = dict(plan.rows())
    assert rows["endpoint"].endswith("8 requests at a time, 1,200 a minute")
    assert (rows["model"], rows["model artifact"]) == ("mine", "Model:v1")


def test_paths_may_begin_with_a_home(questions, make_config, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    config = make_config(f"~/{questions(3).relative_to(tmp_path)}")
    config.output_dir = "~/rollouts"
    plan = make_plan(config)
    assert plan.output_dir == tmp_path / "rollouts"
    assert len(plan.prompts.prompts) == 3
