"""Request every completion that the journal lacks, many at a time."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple

import orjson

from nemotron.errors import UserError
from nemotron.rollouts.client import Client, RequestFailed
from nemotron.rollouts.config import EndpointConfig, SamplingConfig
from nemotron.rollouts.journal import Journal
from nemotron.rollouts.prompts import Prompt
from nemotron.rollouts.reply import Outcome, Reply

STOP_AFTER = 8
"""After this many failed requests in a row, each with all its retries, the endpoint counts as down."""


class Request(NamedTuple):
    """One completion to request."""

    key: str
    """The prompt's key and the number of this completion: `<prompt>-0`."""
    prompt: Prompt


class State(NamedTuple):
    """The progress of collecting."""

    done: int
    total: int
    tokens: int
    """Tokens in the replies of this run, if the server counts them."""
    retried: int


@dataclass
class _Collecting:
    """The state that the workers share."""

    client: Client
    journal: Journal
    total: int
    on_progress: Callable[[State], None]
    tokens: int = 0
    failed: int = 0
    in_a_row: int = 0
    last_failure: str = ""

    def __post_init__(self) -> None:
        self._rejected: list[tuple[str, Reply]] = []
        self.done = 0

    def add(self, key: str, reply: Reply) -> None:
        """Save a reply.

        Rejections are held back until a success: if all requests are rejected, the settings are wrong.
        """
        if reply.outcome is Outcome.REJECTED and not self._anything_succeeded():
            self._rejected.append((key, reply))
            self.in_a_row += 1
            self.last_failure = reply.detail
        else:
            self.in_a_row = 0
            self.journal.add(key, reply)
            for held in self._rejected:
                self.journal.add(*held)
            self._rejected.clear()
        self.done += 1
        self.tokens += reply.tokens or 0
        self._check()
        self.on_progress(State(self.done, self.total, self.tokens, self.client.retried))

    def fail(self, problem: str) -> None:
        self.failed += 1
        self.in_a_row += 1
        self.last_failure = problem
        self._check()

    def _anything_succeeded(self) -> bool:
        return any(reply.outcome is not Outcome.REJECTED for reply in self.journal.replies.values())

    def _check(self) -> None:
        if self.in_a_row >= STOP_AFTER:
            raise self.explain_stop(f"{self.in_a_row} requests in a row failed")

    def explain_stop(self, what: str) -> UserError:
        return UserError(
            f"{what}; the last: {self.last_failure}.",
            f"{len(self.journal.replies):,} completions are kept. Check the server, then run again for the rest.",
        )

    def end(self, skip_failed: bool) -> None:
        """Raise UserError unless every request has a reply or may be skipped."""
        if self._rejected:
            raise self.explain_stop(f"all {len(self._rejected)} requests were rejected")
        if self.failed and not skip_failed:
            raise self.explain_stop(f"{self.failed:,} of {self.total:,} requests failed")


def list_requests(prompts: Sequence[Prompt], per_prompt: int) -> list[Request]:
    """List every completion to request, in the order of the prompts."""
    return [Request(f"{prompt.key}-{number}", prompt) for prompt in prompts for number in range(per_prompt)]


async def collect(
    wanted: Sequence[Request],
    client: Client,
    model: str,
    journal: Journal,
    endpoint: EndpointConfig,
    sampling: SamplingConfig,
    on_progress: Callable[[State], None],
) -> int:
    """Request what the journal lacks, and write every reply to it.

    Returns:
        The number of requests that failed after all retries.

    Raises:
        UserError: The endpoint is down or refuses; without endpoint.skip_failed, also if single requests failed.
    """
    missing = [request for request in wanted if request.key not in journal.replies]
    shared = _Collecting(client, journal, len(wanted), on_progress)
    shared.done = len(wanted) - len(missing)
    on_progress(State(shared.done, len(wanted), 0, 0))
    left = iter(missing)

    async def work(left: Iterator[Request]) -> None:
        for request in left:
            try:
                reply = await client.complete(make_body(request, model, sampling))
            except RequestFailed as error:
                shared.fail(str(error))
            else:
                shared.add(request.key, reply)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(endpoint.concurrency, len(missing))):
                group.create_task(work(left))
    except ExceptionGroup as errors:  # all workers end together; the first error says why
        raise _first(errors) from None
    shared.end(endpoint.skip_failed)
    return shared.failed


def make_body(request: Request, model: str, sampling: SamplingConfig) -> dict[str, Any]:
    """Return the body of a request, with its own seed.

    The seed is the same each time the request is sent.
    """
    made: dict[str, Any] = {
        **sampling.extra,
        "model": model,
        "messages": [_to_api(message) for message in request.prompt.messages],
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "seed": int.from_bytes(sha256(f"{sampling.seed} {request.key}".encode()).digest()[:4]) >> 1,
    }
    if request.prompt.tools:
        made["tools"] = [
            tool if "function" in tool else {"type": "function", "function": tool} for tool in request.prompt.tools
        ]
    if sampling.chat_template_kwargs:
        made["chat_template_kwargs"] = sampling.chat_template_kwargs
    return made


def _to_api(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message in the API's form, with the arguments of calls as JSON text."""
    if "tool_calls" not in message:
        return message
    calls = [
        {**call, "function": {**call["function"], "arguments": orjson.dumps(call["function"]["arguments"]).decode()}}
        for call in message["tool_calls"]
    ]
    return {**message, "tool_calls": calls}


def _first(errors: BaseExceptionGroup) -> BaseException:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
