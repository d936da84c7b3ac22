"""Files of a finished run with values of other types: they are made again, or named in one sentence."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.data_prep.small_run import Row, make_config_in, write_rows_in

from nemotron.data_prep.inspection.origins import Origins
from nemotron.data_prep.output.verify import verify
from nemotron.data_prep.pipeline import PrepResult, prepare
from nemotron.errors import UserError

ODD: list[Any] = [None, 5, "x", [], {}, [{}], True]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, byte_tokenizer: Path, chat: Callable[..., Row]) -> PrepResult:
    folder = tmp_path_factory.mktemp("prepared")
    write_rows_in(folder, "chat.jsonl", [*(chat(f"Question {i}", "Answer " * (i % 9 + 1)) for i in range(40)), {}])
    return prepare(make_config_in(folder, byte_tokenizer, "chat.jsonl"))


@pytest.fixture
def result(prepared: PrepResult, tmp_path: Path) -> Iterator[PrepResult]:
    """A finished run, which is put back after each test."""
    folder = prepared.plan.output_dir.parent
    shutil.copytree(folder, tmp_path / "whole", symlinks=True)
    yield prepared
    shutil.rmtree(folder)
    shutil.move(tmp_path / "whole", folder)


def replace_in(path: Path, place: str, value: object) -> None:
    content: Any = json.loads(path.read_bytes())
    inside = content
    *above, last = (int(part) if part.isdecimal() else part for part in re.split(r"(?<!\\)\.", place))
    for part in above:
        inside = inside[part]
    inside[last.replace("\\", "") if isinstance(last, str) else last] = value
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    "odds", [pytest.param(ODD[:1], id="None"), pytest.param(ODD[1:], marks=pytest.mark.slow, id="others")]
)
@pytest.mark.parametrize(
    ("file", "place"),
    [
        ("metadata.json", "splits.0.shards"),
        ("metadata.json", "datasets.0.notes"),
        ("metadata.json", "distributions.pack_fill.counts"),
        ("metadata.json", "tokenizer"),
        ("metadata.json", "tokenizer.model"),
        ("checksums.json", "metadata\\.json"),
        ("metadata.json", "totals"),
        ("examples.json", "sequences.0.chunks"),
        ("examples.json", "sequences"),
        ("examples.json", "dropped.0.line"),
    ],
)
def test_data_prep_makes_again_what_it_needs(result: PrepResult, file: str, place: str, odds: list[Any]) -> None:
    for odd in odds:
        replace_in(result.plan.run_dir / file, place, odd)
        again = prepare(result.plan.config)
        assert again.metadata == result.metadata
        assert (result.plan.output_dir / "report.html").is_file()
    prepare(replace(result.plan.config, force=True))
    assert list(verify(result.plan.output_dir)) == []


@pytest.mark.parametrize("place", ["datasets", "datasets.0", "datasets.0.name", "datasets.0.files.0.parts"])
def test_a_damaged_plan_is_named(result: PrepResult, place: str) -> None:
    plan = result.plan.run_dir / "plan.json"
    for odd in ({}, None, [5], "x") if place != "datasets.0.name" else ({}, None, [5]):
        replace_in(plan, place, odd)
        with pytest.raises(UserError, match=r"plan\.json"):
            Origins(result.plan.run_dir)
        assert any(str(plan) in problem for problem in verify(result.plan.output_dir))
        plan.write_text(json.dumps({"datasets": [{"name": "a", "files": [{"path": "", "parts": 1, "tokens": "b"}]}]}))


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("name", ["runs/RUN/checksums.json", "runs/RUN/splits/artifact.json", "blend.json"])
def test_verifying_names_a_record_of_something_else(result: PrepResult, name: str, odd: object) -> None:
    path = result.plan.output_dir / name.replace("RUN", result.plan.run_dir.name)
    path.write_text(json.dumps(odd))
    problems = list(verify(result.plan.output_dir))
    assert odd == {} or any(str(path) in problem for problem in problems)
    path.write_text(json.dumps({"train": odd}))
    list(verify(result.plan.output_dir))
