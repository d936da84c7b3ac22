"""What servers write into Retry-After, and how long a retry waits."""

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from nemotron.rollouts.pace import LONGEST_BACKOFF_S, Pace, backoff, retry_after


@pytest.mark.parametrize(("header", "seconds"), [(None, None), ("3", 3.0), ("0.5", 0.5), ("-2", 0.0), ("soon", None)])
def test_retry_after_may_be_seconds(header, seconds):
    assert retry_after(header) == seconds


def test_retry_after_may_be_a_date():
    date = datetime.now(UTC) + timedelta(seconds=90)
    assert 85 < (retry_after(format_datetime(date, usegmt=True)) or 0) <= 90


def test_backoff_doubles_up_to_a_minute():
    for attempt in range(40):
        longest = min(2.0**attempt, LONGEST_BACKOFF_S)
        assert longest / 2 <= backoff(1.0, attempt) <= longest


async def seconds_of_turns(pace: Pace, count: int) -> float:
    now = asyncio.get_running_loop().time
    began = now()
    for _ in range(count):
        await pace.turn()
    return now() - began


def test_requests_are_spaced_out_evenly():
    assert asyncio.run(seconds_of_turns(Pace(requests_per_minute=1200), 6)) >= 5 * 60 / 1200 - 0.001


def test_a_pause_holds_even_those_that_had_their_turn():
    async def held() -> float:
        pace = Pace(None)
        pace.hold(0.1)
        return await seconds_of_turns(pace, 1)

    assert asyncio.run(held()) >= 0.099


def test_the_longest_pause_counts():
    async def held() -> float:
        pace = Pace(None)
        pace.hold(0.1)
        pace.hold(0.01)
        return await seconds_of_turns(pace, 1)

    assert asyncio.run(held()) >= 0.099


def test_a_date_without_a_zone_is_in_utc():
    date = datetime.now(UTC) + timedelta(seconds=90)
    assert 85 < (retry_after(date.strftime("%a, %d %b %Y %H:%M:%S -0000")) or 0) <= 90
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0
