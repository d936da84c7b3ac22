"""When a run of rollouts gives up: not for what fails now and then."""

from types import SimpleNamespace
from typing import Any

import pytest

from nemotron.errors import UserError
from nemotron.rollouts.collect import STOP_AFTER, _Collecting, list_requests, make_body
from nemotron.rollouts.config import SamplingConfig
from nemotron.rollouts.journal import Journal
from nemotron.rollouts.prompts import Prompt
from nemotron.rollouts.reply import Outcome, Reply

ANSWER = Reply(Outcome.COMPLETED, {"content": "yes"})


@pytest.fixture
def collecting(tmp_path):
    client: Any = SimpleNamespace(retried=0)
    with Journal(tmp_path / "replies.jsonl") as journal:
        yield _Collecting(client, journal, 100, lambda state: None)


def test_an_endpoint_is_down_when_so_many_requests_fail_in_a_row(collecting):
    for _ in range(STOP_AFTER - 1):
        collecting.fail("HTTP 503")
    with pytest.raises(UserError, match=f"{STOP_AFTER} requests in a row failed.*HTTP 503"):
        collecting.fail("HTTP 503")


def test_a_success_in_between_shows_that_it_is_up(collecting):
    for number in range(5):
        for _ in range(STOP_AFTER - 1):
            collecting.fail("HTTP 503")
        collecting.add(f"a-{number}", ANSWER)
    assert (collecting.done, collecting.failed) == (5, 5 * (STOP_AFTER - 1))


def test_what_failed_ends_the_run_unless_it_may_be_skipped(collecting):
    collecting.end(skip_failed=False)
    collecting.fail("HTTP 503")
    collecting.end(skip_failed=True)
    with pytest.raises(UserError, match=r"1 of 100 requests failed.*HTTP 503"):
        collecting.end(skip_failed=False)


def test_if_all_are_rejected_the_settings_are_wrong(collecting):
    collecting.add("a-0", Reply(Outcome.REJECTED, detail="top_p must be below 1"))
    with pytest.raises(UserError, match=r"all 1 requests were rejected.*top_p"):
        collecting.end(skip_failed=True)


def test_a_request_has_the_seed_of_its_key_and_tools_in_the_form_of_the_api():
    prompt = Prompt("abc", "data", [{"role": "user", "content": "?"}], [{"name": "add"}], None)
    one, other = list_requests([prompt], 2)
    sampling = SamplingConfig(chat_template_kwargs={"enable_thinking": False}, extra={"top_k": 5})
    body = make_body(one, "tiny", sampling)
    assert make_body(one, "tiny", sampling) == body
    assert make_body(other, "tiny", sampling)["seed"] != body["seed"]
    assert 0 <= body["seed"] < 2**31
    assert body["tools"] == [{"type": "function", "function": {"name": "add"}}]
    assert (body["chat_template_kwargs"], body["top_k"], body["model"]) == ({"enable_thinking": False}, 5, "tiny")


def test_a_request_has_the_settings_and_arguments_as_text():
    call = {"id": "1", "type": "function", "function": {"name": "add", "arguments": {"a": 1}}}
    messages = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "", "tool_calls": [call]}]
    [request] = list_requests([Prompt("abc", "data", messages, None, None)], 1)
    body = make_body(request, "tiny", SamplingConfig(temperature=0.5, top_p=0.9, max_tokens=7, extra={"model": "x"}))
    sent = {**call, "function": {"name": "add", "arguments": '{"a":1}'}}
    assert body.pop("seed") >= 0
    assert body == {
        "model": "tiny", "messages": [messages[0], {**messages[1], "tool_calls": [sent]}], "temperature": 0.5,
        "top_p": 0.9, "max_tokens": 7,
    }  # fmt: skip


def test_rejections_are_failures_until_something_succeeds(collecting):
    for number in range(STOP_AFTER - 1):
        collecting.add(f"a-{number}", Reply(Outcome.REJECTED, detail="top_p must be below 1"))
    assert collecting.journal.replies == {}
    collecting.add("b-0", ANSWER)
    assert len(collecting.journal.replies) == STOP_AFTER
    for number in range(2 * STOP_AFTER):
        collecting.add(f"c-{number}", Reply(Outcome.REJECTED, detail="too long"))
    assert len(collecting.journal.replies) == 3 * STOP_AFTER
