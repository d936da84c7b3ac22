"""Decide when the next request may be sent.

This enforces the rate limit, and pauses that the server asks for.
"""

import asyncio
import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST_BACKOFF_S = 60.0


class Pace:
    """Spaces requests evenly, and holds them while the server asks for a pause."""

    def __init__(self, requests_per_minute: int | None) -> None:
        self._gap = 60 / requests_per_minute if requests_per_minute else 0.0
        self._next = 0.0
        self._held_until = 0.0

    async def turn(self) -> None:
        """Wait until a request may be sent."""
        now = asyncio.get_running_loop().time
        slot = max(now(), self._next)
        self._next = slot + self._gap
        while (wait := max(slot, self._held_until) - now()) > 0:
            await asyncio.sleep(wait)

    def hold(self, seconds: float) -> None:
        """Send nothing for this many seconds."""
        self._held_until = max(self._held_until, asyncio.get_running_loop().time() + seconds)


def backoff(first: float, attempt: int) -> float:
    """Return the seconds before retry number `attempt` (from 0).

    The time doubles, up to a minute, and up to half of it is random, so that requests that failed together are not
    retried together.
    """
    longest = min(first * 2**attempt, LONGEST_BACKOFF_S)
    return longest * random.uniform(0.5, 1.0)


def retry_after(header: str | None) -> float | None:
    """Return the seconds that a Retry-After header asks for; None without one.

    RFC 9110: a number of seconds, or a date.
    """
    if header is None:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        date = parsedate_to_datetime(header)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())
