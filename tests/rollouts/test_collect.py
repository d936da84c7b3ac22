"""When a run of rollouts gives up: not for what fails now and then."""

from types import SimpleNamespace
from typing import Any

import pytest

from nemotron.errors import UserError
from nemotron.rollouts.collect import STOP_AFTER, _Collecting
from nemotron.rollouts.journal import Journal
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


def test_rejections_are_failures_until_something_succeeds(collecting):
    for number in range(STOP_AFTER - 1):
        collecting.add(f"a-{number}", Reply(Outcome.REJECTED, detail="top_p must be below 1"))
    assert collecting.journal.replies == {}
    collecting.add("b-0", ANSWER)
    assert len(collecting.journal.replies) == STOP_AFTER
    for number in range(2 * STOP_AFTER):
        collecting.add(f"c-{number}", Reply(Outcome.REJECTED, detail="too long"))
    assert len(collecting.journal.replies) == 3 * STOP_AFTER
