"""What was made from what, in both directions, over all records of a folder."""

from pathlib import Path

import pytest

from nemotron.lineage import log_artifact, resolve
from nemotron.lineage.graph import Node, Records


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Data, two models made of it, and an export of both with the data itself again."""
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    made = {}
    for name, inputs in (("Data", ["/raw.jsonl"]), ("One", ["Data"]), ("Two", ["Data"]), ("Export", ["One", "Two"])):
        (tmp_path / name).mkdir()
        given = [made.get(each, each) for each in inputs]
        made[name] = log_artifact(name=name, type="t", path=tmp_path / name, root=tmp_path / "root", inputs=given)
    return tmp_path / "root"


def outline(node: Node) -> list:
    """Its name, `...` where it stands above with its neighbours, and its neighbours."""
    return [node.reference + ("..." if node.seen else ""), *map(outline, node.children)]


def test_what_was_used_twice_shows_its_inputs_once(root: Path) -> None:
    made_from = Records(root).trace_inputs(resolve("Export", root))
    data = ["Data:v1", ["/raw.jsonl"]]
    assert outline(made_from) == ["Export:v1", ["One:v1", data], ["Two:v1", ["Data:v1..."]]]
    tree = made_from.to_dict("made_from")
    once, again = (model["made_from"][0] for model in tree["made_from"])
    assert once["made_from"][0]["reference"] == "/raw.jsonl"
    assert again["path"] == once["path"]
    assert "made_from" not in again
    data = resolve("Data", root)
    assert again == {
        "reference": "Data:v1", "digest": data.digest, "type": "t", "path": data.path, "created": data.created,
    }  # fmt: skip


def test_what_was_made_of_it_is_found_in_the_records_of_the_others(root: Path, tmp_path: Path) -> None:
    used_by = Records(root).trace_outputs(resolve("Data", root))
    # The export has no users: nothing is left out where it stands again.
    assert outline(used_by) == ["Data:v1", ["One:v1", ["Export:v1"]], ["Two:v1", ["Export:v1"]]]
    (tmp_path / "Chat").mkdir()
    log_artifact(name="Chat", type="t", path=tmp_path / "Chat", root=root, inputs=["Export:v1"])
    used_by = Records(root).trace_outputs(resolve("Data", root))
    users = ["Export:v1", ["Chat:v1"]]
    assert outline(used_by) == ["Data:v1", ["One:v1", users], ["Two:v1", ["Export:v1..."]]]


def test_of_an_input_that_stands_again_without_inputs_nothing_is_left_out(root: Path, tmp_path: Path) -> None:
    (tmp_path / "Raw").mkdir()
    raw = log_artifact(name="Raw", type="t", path=tmp_path / "Raw", root=root)
    both = [raw]
    for name in ("A", "B"):
        (tmp_path / name).mkdir()
        both.append(log_artifact(name=name, type="t", path=tmp_path / name, root=root, inputs=[*both]))
    assert outline(Records(root).trace_inputs(both[2])) == ["B:v1", ["Raw:v1"], ["A:v1", ["Raw:v1"]]]


def test_a_damaged_record_is_left_out(root: Path) -> None:
    (root / "One/v1.json").write_text("{")
    records = Records(root)
    assert ("One:v1" in records, "Two:v1" in records) == (False, True)
    assert outline(records.trace_inputs(resolve("Export", root)))[1] == ["One:v1"]
