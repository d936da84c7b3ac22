"""The journal gives back what was written, whatever stands at its end."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemotron.rollouts.journal import Journal
from nemotron.rollouts.reply import Outcome, Reply

REPLIES = {f"key-{i}": Reply(Outcome.COMPLETED, {"role": "assistant", "content": "näh\n" * i}, i) for i in range(4)}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    with Journal(path) as journal:
        for key, reply in REPLIES.items():
            journal.add(key, reply)
    return path.read_bytes()


@given(data=st.data())
def test_a_journal_cut_anywhere_keeps_its_whole_lines_and_goes_on(written, tmp_path_factory, data):
    cut = data.draw(st.integers(0, len(written)))
    path = tmp_path_factory.mktemp("cut") / "journal.jsonl"
    path.write_bytes(written[:cut])
    with Journal(path) as journal:
        whole = written[:cut].count(b"\n")
        assert journal.replies == dict(list(REPLIES.items())[:whole])
        for key, reply in REPLIES.items():
            journal.add(key, reply)
    assert path.read_bytes() == written


@pytest.mark.parametrize(
    "damaged",
    [
        b"\0\0\0", b"5", b"[]", b"{}", b'{"key": "key-1"}', b'{"outcome": "completed"}',
        b'{"key": "key-1", "outcome": "elsewhere"}', b'{"key": "key-1", "outcome": "completed", "more": 1}',
    ],
)  # fmt: skip
def test_a_damaged_line_costs_only_its_reply(written, tmp_path, damaged):
    lines = written.splitlines(keepends=True)
    path = tmp_path / "journal.jsonl"
    path.write_bytes(lines[0] + damaged + b"\n" + lines[2])
    with Journal(path) as journal:
        assert set(journal.replies) == {"key-0", "key-2"}


def test_of_a_full_disk_no_half_line_stays(tmp_path, monkeypatch):
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.add("key-1", REPLIES["key-1"])
        whole = path.read_bytes()
        write = os.write
        with monkeypatch.context() as full:
            full.setattr(os, "write", lambda file, line: write(file, line[:9]))
            with pytest.raises(OSError, match="No space left"):
                journal.add("key-2", REPLIES["key-2"])
        assert path.read_bytes() == whole
        journal.add("key-2", REPLIES["key-2"])
        assert set(journal.replies) == {"key-1", "key-2"}


def test_a_reply_is_kept_once(tmp_path):
    path = tmp_path / "journal.jsonl"
    for reply in (REPLIES["key-1"], REPLIES["key-2"]):
        with Journal(path) as journal:
            journal.add("a-0", reply)
    assert path.read_bytes().count(b"\n") == 1
    with Journal(path) as journal:
        assert journal.replies == {"a-0": REPLIES["key-1"]}
