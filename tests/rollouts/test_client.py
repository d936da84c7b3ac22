"""What an endpoint may answer, and what is made of it; without a network."""

import asyncio
import json
from functools import partial
from typing import Any

import httpx
import pytest

from nemotron.errors import UserError
from nemotron.rollouts.client import Client, RequestFailed
from nemotron.rollouts.config import EndpointConfig
from nemotron.rollouts.reply import Outcome

HTTP = httpx.AsyncClient
DONE = {"choices": [{"message": {"content": "Yes."}, "finish_reason": "stop"}]}


def ask(monkeypatch: pytest.MonkeyPatch, what: str, *answers: httpx.Response | Exception, **settings: Any) -> Any:
    """Call `complete` or `model` of a client whose requests are answered like this, one after the other."""
    monkeypatch.setenv("MY_KEY", "gulf-stream")
    left = iter(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.headers["authorization"] == "Bearer gulf-stream"
        assert str(request.url) == f"http://host/v1/{'chat/completions' if what == 'complete' else 'models'}"
        found = next(left)
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(httpx, "AsyncClient", partial(HTTP, transport=httpx.MockTransport(answer)))

    async def call() -> Any:
        endpoint = EndpointConfig(
            **{"base_url": "http://host/v1/", "api_key_env": "MY_KEY", "retries": 2, "backoff_s": 0.0, **settings}
        )
        async with Client(endpoint) as client:
            found = await (client.complete({}) if what == "complete" else client.model())
            assert next(left, None) is None
            return found

    return asyncio.run(call())


def says(status: int, body: Any = None, retry_after: str | None = None) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return httpx.Response(status, content=content, headers={"retry-after": retry_after} if retry_after else None)


@pytest.mark.parametrize(
    "trouble",
    [
        says(429), says(408), says(500), says(503), says(200, {"choices": []}), says(200, b"<html>"),
        httpx.ConnectError("refused"), httpx.ReadTimeout("slow"),
    ],
)  # fmt: skip
def test_what_may_pass_is_asked_again_as_often_as_the_config_says(monkeypatch: pytest.MonkeyPatch, trouble):
    waited = []

    async def wait(client: Client, seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(Client, "_wait", wait)
    reply = ask(monkeypatch, "complete", trouble, trouble, says(200, DONE))
    assert reply.outcome is Outcome.COMPLETED
    assert len(waited) == 2
    with pytest.raises(RequestFailed):
        ask(monkeypatch, "complete", trouble, trouble, trouble)


@pytest.mark.parametrize(
    ("trouble", "problem"),
    [
        (TimeoutError(), "no answer within 5 s"),  # of asyncio: bytes came, but too slowly
        (httpx.ReadTimeout(""), "no answer within 5 s"),
        (httpx.ConnectError("refused"), "refused"),
        (httpx.ReadError(""), "ReadError"),
        (httpx.DecodingError("no gzip"), "no gzip"),
        (says(503, {"error": {"message": "busy"}}), "HTTP 503: busy"),
        (says(503, {"error": "busy"}), "HTTP 503: busy"),
        (says(503, {"detail": "busy"}), "HTTP 503: {'detail': 'busy'}"),
        (says(503, b"busy."), "HTTP 503: busy"),
        (says(503, b"[]"), "HTTP 503: []"),
        (says(503, b""), "HTTP 503: Service Unavailable"),
        (says(503, b"b" * 301), f"HTTP 503: {'b' * 300}"),
    ],
)
def test_a_failed_request_says_what_was_wrong_last(monkeypatch: pytest.MonkeyPatch, trouble, problem: str):
    with pytest.raises(RequestFailed) as failed:
        ask(monkeypatch, "complete", *[trouble] * 3, timeout_s=5)
    assert str(failed.value) == problem


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_request_that_is_refused_is_not_sent_again(monkeypatch: pytest.MonkeyPatch, status: int):
    reply = ask(monkeypatch, "complete", says(status, {"error": {"message": "too\nlong for gulf-stream"}}))
    assert (reply.outcome, reply.detail) == (Outcome.REJECTED, f"HTTP {status}: too long for ***")


@pytest.mark.parametrize(
    ("status", "hint"),
    [(401, "The key in MY_KEY"), (403, "The key in MY_KEY"), (404, "endpoint.base_url"), (301, None)],
)
def test_what_no_retry_can_help_ends_the_run(monkeypatch: pytest.MonkeyPatch, status: int, hint: str | None):
    if hint is None:  # a page of another server
        with pytest.raises(RequestFailed, match="not a completion"):
            ask(monkeypatch, "complete", *[says(status, b"moved")] * 3)
        return
    with pytest.raises(UserError, match=f"HTTP {status}") as error:
        ask(monkeypatch, "complete", says(status, {"error": "no gulf-stream"}))
    assert "gulf-stream" not in error.value.message
    assert hint in (error.value.hint or "")


def test_a_pause_is_kept_up_to_the_longest(monkeypatch: pytest.MonkeyPatch):
    assert ask(monkeypatch, "complete", says(429, retry_after="0.01"), says(200, DONE)).outcome is Outcome.COMPLETED
    with pytest.raises(UserError, match=r"wait 11 s, longer than endpoint\.longest_wait_s of 10 s"):
        ask(monkeypatch, "complete", says(429, retry_after="11"), longest_wait_s=10)


@pytest.mark.parametrize(
    ("wanted", "answer", "model"),
    [
        (None, says(200, {"data": [{"id": "tiny"}]}), "tiny"),
        ("tiny", says(200, {"data": [{"id": "big"}, {"id": "tiny"}]}), "tiny"),
        ("tiny", says(404), "tiny"),  # it does not list its models
        ("tiny", says(405), "tiny"),
        ("tiny", says(200, {"models": []}), "tiny"),
        (None, says(404), "does not list its models"),
        (None, says(200, {"data": []}), "serves 0 models"),
        (None, says(200, {"data": [{"id": "a"}, {"id": "b"}]}), "serves 2 models"),
        ("tny", says(200, {"data": [{"id": "tiny"}]}), 'does not serve the model "tny"'),
    ],
)
def test_the_model_is_the_one_asked_for_or_the_only_one(
    monkeypatch: pytest.MonkeyPatch, wanted: str | None, answer: httpx.Response, model: str
):
    if model == "tiny":
        assert ask(monkeypatch, "model", answer, model=wanted) == "tiny"
    else:
        with pytest.raises(UserError, match=model):
            ask(monkeypatch, "model", answer, model=wanted)


def test_a_server_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(UserError, match=r"http://host/v1/ cannot be used: refused"):
        ask(monkeypatch, "model", *[httpx.ConnectError("refused")] * 3)


@pytest.mark.parametrize(
    ("host", "may_use_a_proxy"),
    [("localhost", False), ("127.0.0.1", False), ("[::1]", False), ("host", True), ("localhost.example", True)],
)
def test_a_proxy_is_not_asked_for_the_ports_of_this_machine(
    monkeypatch: pytest.MonkeyPatch, host: str, may_use_a_proxy: bool
) -> None:
    made: dict[str, Any] = {}
    monkeypatch.setattr(httpx, "AsyncClient", lambda **settings: made.update(settings))
    Client(EndpointConfig(base_url=f"http://{host}:8000/v1", concurrency=300, timeout_s=7))
    assert (made["trust_env"], made["timeout"], made["limits"].max_connections) == (may_use_a_proxy, 7, 300)
