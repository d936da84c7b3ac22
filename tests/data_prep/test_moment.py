"""A template that shows the time shows one moment per run, also after resuming."""

import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import orjson
import pyarrow.parquet as pq
import pytest

from nemotron.data_prep.chat import template as template_module
from nemotron.data_prep.config import DataPrepConfig
from nemotron.data_prep.moment import find_moment
from nemotron.data_prep.pipeline import PrepResult, prepare
from nemotron.data_prep.plan import make_plan

SHOWS_TIME = (
    "{{ strftime_now('%Y-%m-%d %H:%M:%S.%f') }}|"
    "{% for m in messages %}{{ m.role }}:{{ m.content }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


class Clock(datetime):
    """A clock that is a second on whenever it is looked at."""

    looked = 0

    @classmethod
    def now(cls, tz=None) -> datetime:
        Clock.looked += 1
        return datetime(2026, 1, 2, 0, 0, Clock.looked)


@pytest.fixture
def config(
    make_config: Callable, write_rows: Callable, chat: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., DataPrepConfig]:
    monkeypatch.setattr(template_module, "datetime", Clock)
    write_rows("chat.jsonl", [chat(f"Question {n}", "Answer") for n in range(20)])
    (tmp_path / "time.jinja").write_text(SHOWS_TIME)
    return lambda **settings: make_config("chat.jsonl", chat_template=str(tmp_path / "time.jinja"), **settings)


def shown(result: PrepResult, decode: Callable) -> set[str]:
    """The moments in the prepared data."""
    moments = set()
    for path in (result.splits_dir / "train").glob("*.parquet"):
        for row in pq.read_table(path).to_pylist():
            ends = [*row["seq_start_id"][1:], len(row["input_ids"])]
            pairs = zip(row["seq_start_id"], ends, strict=True)
            moments |= {decode(row["input_ids"][begin:end]).partition("|")[0] for begin, end in pairs}
    return moments


def test_a_run_has_one_moment_and_its_plan_records_it(config: Callable, decode: Callable) -> None:
    result = prepare(config())
    (moment,) = shown(result, decode)
    recorded = orjson.loads((result.plan.run_dir / "plan.json").read_bytes())["chat_template"]["moment"]
    assert datetime.fromisoformat(moment) == datetime.fromisoformat(recorded)


def test_the_same_command_later_finds_its_run(config: Callable) -> None:
    first = prepare(config())
    again = prepare(config())
    assert again.unchanged
    assert again.plan.run_hash == first.plan.run_hash


def test_a_run_that_was_interrupted_goes_on_at_its_moment(config: Callable, decode: Callable) -> None:
    first = prepare(config())
    (first.plan.run_dir / "metadata.json").unlink()
    shutil.rmtree(first.plan.run_dir / "splits")
    resumed = prepare(config())
    assert not resumed.unchanged
    assert shown(resumed, decode) == {first.plan.template.moment.strftime("%Y-%m-%d %H:%M:%S.%f")}


def test_other_settings_and_force_have_a_moment_of_their_own(config: Callable) -> None:
    first = prepare(config()).plan
    others = [make_plan(config(pack_size=512)), make_plan(config(force=True))]
    assert len({plan.run_hash for plan in (first, *others)}) == 3
    assert len({plan.template.moment for plan in (first, *others)}) == 3


def test_the_moment_is_that_of_the_newest_run_that_differs_in_nothing_else(tmp_path: Path) -> None:
    for name, hash_, day in [("a", "x", 2), ("b", "x", 3), ("c", "x", 1), ("d", "y", 4)]:
        (tmp_path / "runs" / name).mkdir(parents=True)
        recorded = {"chat_template": {"timeless_hash": hash_, "moment": f"2026-01-0{day}"}}
        (tmp_path / "runs" / name / "plan.json").write_bytes(orjson.dumps(recorded))
    assert find_moment(tmp_path, "x") == datetime(2026, 1, 3)


def test_damaged_plans_are_passed_over(tmp_path: Path) -> None:
    for name, content in [("a", b"{"), ("b", b"[]"), ("c", b'{"chat_template": {"timeless_hash": "x", "moment": 5}}')]:
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "plan.json").write_bytes(content)
    assert find_moment(tmp_path, "x") is None
