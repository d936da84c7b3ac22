"""The inputs of a run, from what it wrote down."""

import json
from pathlib import Path

import pytest

from nemotron.data_prep.sources.written_plan import WrittenDataset, WrittenFile, read_inputs
from nemotron.errors import UserError


def test_the_inputs_are_those_of_the_plan_whatever_else_it_says(tmp_path: Path) -> None:
    file = {"path": "a.jsonl", "parts": 2, "tokens": "/tokens/chat/abc", "size": 5}
    plan = {"datasets": [{"name": "chat", "files": [file], "weight": 1}], "settings": {}}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    [dataset] = read_inputs(tmp_path)
    assert dataset == WrittenDataset("chat", [WrittenFile("a.jsonl", 2, "/tokens/chat/abc")])
    assert dataset.link(tmp_path, dataset.files[0]) == tmp_path / "datasets/chat/abc"


@pytest.mark.parametrize("content", [None, "{", "{}", '{"datasets": [{}]}'])
def test_a_damaged_plan_is_named(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "plan.json").write_text(content)
    with pytest.raises(UserError, match=r"plan\.json cannot be read"):
        read_inputs(tmp_path)
