"""Send requests to an OpenAI-compatible endpoint, and retry temporary failures."""

import asyncio
import os
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from nemotron.errors import UserError, did_you_mean
from nemotron.rollouts.config import EndpointConfig
from nemotron.rollouts.pace import Pace, backoff, retry_after
from nemotron.rollouts.reply import NotACompletion, Outcome, Reply, read_reply
from nemotron.secrets import MASK

MAY_PASS = (408, 409, 425, 429)
"""Status codes worth a retry, in addition to 500 and above."""
OF_THE_REQUEST = (400, 413, 422)
"""Status codes that concern one request only: the next one may succeed."""
_UNLISTED = {"GET": (404, 405)}
"""Status codes of an endpoint that does not list its models."""
SHOWN = 300
"""How many characters of a server's message are shown."""


class RequestFailed(Exception):
    """A request failed after all retries."""


class Client:
    """A connection to an endpoint. Use it as an async context manager."""

    def __init__(self, endpoint: EndpointConfig) -> None:
        self._endpoint = endpoint
        self._pace = Pace(endpoint.requests_per_minute)
        key = os.environ.get(endpoint.api_key_env, "")
        is_here = urlsplit(endpoint.base_url).hostname in ("localhost", "127.0.0.1", "::1")
        self._http = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=endpoint.timeout_s,
            limits=httpx.Limits(max_connections=endpoint.concurrency, max_keepalive_connections=endpoint.concurrency),
            trust_env=not is_here,  # a proxy cannot reach this machine's ports
        )
        self._key = key
        self.retried = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def model(self) -> str:
        """Return the name of the model to use: the config's, or the only one served.

        Raises:
            UserError: The endpoint cannot be reached, refuses the key, does not serve the model, or serves several
                while the config names none.
        """
        wanted = self._endpoint.model
        try:
            response = await self._send("GET", "/models")
        except RequestFailed as error:
            raise self._unreachable(error) from None
        served = _names(response)
        if served is None:  # some endpoints do not list their models
            if wanted is None:
                raise UserError(f"{self._endpoint.base_url} does not list its models.", "Set endpoint.model.")
            return wanted
        if wanted is None and len(served) == 1:
            return served[0]
        listed = f"It serves: {', '.join(served[:8]) or 'none'}."
        if wanted is None:
            raise UserError(f"{self._endpoint.base_url} serves {len(served)} models.", f"Set endpoint.model. {listed}")
        if wanted not in served:
            hint = did_you_mean(wanted, served) or listed
            raise UserError(f'{self._endpoint.base_url} does not serve the model "{wanted}".', hint)
        return wanted

    async def complete(self, body: dict[str, Any]) -> Reply:
        """Return the reply to one chat request.

        Raises:
            RequestFailed: There was no answer after all retries.
            UserError: The endpoint refuses the key, has no such address, or asks for too long a pause.
        """
        for attempt in range(self._endpoint.retries + 1):
            response = await self._send("POST", "/chat/completions", body, first=attempt)
            if response.status_code in OF_THE_REQUEST:
                return Reply(Outcome.REJECTED, detail=f"HTTP {response.status_code}: {self._message(response)}")
            try:
                return read_reply(response.json())
            except (NotACompletion, ValueError) as error:  # truncated, or a proxy's own page
                problem = f"the reply is not a completion: {error}"
                if attempt == self._endpoint.retries:
                    raise RequestFailed(problem) from None
                await self._wait(backoff(self._endpoint.backoff_s, attempt))
        raise RequestFailed("no attempt was made")

    async def _send(self, method: str, path: str, body: dict[str, Any] | None = None, first: int = 0) -> httpx.Response:
        """Return the response to a request: success, or a refusal of this request only.

        `first` is the number of attempts already used.
        """
        for attempt in range(first, self._endpoint.retries + 1):
            await self._pace.turn()
            try:
                # httpx limits only the silence between two bytes, so a slow trickle would never time out.
                async with asyncio.timeout(self._endpoint.timeout_s):
                    response = await self._http.request(method, self._endpoint.base_url.rstrip("/") + path, json=body)
            except (TimeoutError, httpx.TimeoutException):
                problem, wait = f"no answer within {self._endpoint.timeout_s:g} s", None
            except (httpx.TransportError, httpx.DecodingError) as error:
                problem, wait = str(error) or type(error).__name__, None
            else:
                if response.status_code < 400 or response.status_code in (*OF_THE_REQUEST, *_UNLISTED.get(method, ())):
                    return response
                problem, wait = self._refusal(response), retry_after(response.headers.get("retry-after"))
                if wait is not None:
                    self._hold(wait)
            if attempt == self._endpoint.retries:
                raise RequestFailed(problem)
            await self._wait(backoff(self._endpoint.backoff_s, attempt) if wait is None else 0)
        raise RequestFailed("no attempt was made")

    async def _wait(self, seconds: float) -> None:
        self.retried += 1
        await asyncio.sleep(seconds)

    def _hold(self, seconds: float) -> None:
        if seconds > self._endpoint.longest_wait_s:
            raise UserError(
                f"{self._endpoint.base_url} asks to wait {seconds:,.0f} s, longer than endpoint.longest_wait_s of "
                f"{self._endpoint.longest_wait_s:,.0f} s.",
                "Run again later; finished completions are kept.",
            )
        self._pace.hold(seconds)

    def _refusal(self, response: httpx.Response) -> str:
        """Describe an error status that a retry may fix.

        Raises:
            UserError: A retry cannot help.
        """
        status, message = response.status_code, self._message(response)
        if status in MAY_PASS or status >= 500:
            return f"HTTP {status}: {message}"
        where = self._endpoint.base_url
        if status in (401, 403):
            key = f"The key in {self._endpoint.api_key_env} is not accepted"
            hint = key if self._key else f"Put the key into the environment variable {self._endpoint.api_key_env}"
            raise UserError(f"{where} refuses access (HTTP {status}): {message}", f"{hint}.")
        raise UserError(
            f"{where}/chat/completions answers HTTP {status}: {message}",
            "Check endpoint.base_url, which usually ends with /v1, and endpoint.model.",
        )

    def _message(self, response: httpx.Response) -> str:
        """Return an error's message in one line, masked: some servers repeat the key."""
        text = _error_of(response)
        text = text.replace(self._key, MASK) if self._key else text
        return " ".join(text.split())[:SHOWN].rstrip(".") or response.reason_phrase

    def _unreachable(self, error: RequestFailed) -> UserError:
        return UserError(
            f"{self._endpoint.base_url} cannot be used: {error}.",
            "Start the server (vllm serve FOLDER), or set endpoint.base_url. Finished completions are kept.",
        )


def _names(response: httpx.Response) -> list[str] | None:
    """Return the models of a `/models` reply, or None if it is not one."""
    try:
        return [str(model["id"]) for model in response.json()["data"]]
    except (ValueError, KeyError, TypeError):
        return None


def _error_of(response: httpx.Response) -> str:
    """Return the error message of the API's form, else the whole body."""
    try:
        body = response.json()
        error = body.get("error", body)
        return str(error.get("message", error) if isinstance(error, dict) else error)
    except (ValueError, AttributeError):
        return response.text
