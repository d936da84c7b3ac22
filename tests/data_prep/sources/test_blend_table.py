"""The shipped blend against the documented table, line by line; and what a table says of any blend."""

import json

import pytest

from nemotron.config import config_dir
from nemotron.data_prep.sources.blend import read_blend
from nemotron.data_prep.sources.blend_table import coverage, describe_missing, domain_rows, refuse_missing
from nemotron.errors import UserError

REUSED, REFRESHED, NEW = "reused from Nemotron 3 Nano", "refreshed with new teachers", "new"
CHAT, CODE = "nvidia/Nemotron-Instruction-Following-Chat-v1", "nvidia/Nemotron-Competitive-Programming-v1"
PUBLIC = {
    (CHAT, "chat_if"): 14.3,
    (CHAT, "structured_outputs"): 14.3,
    (CODE, "competitive_coding_cpp.part_00"): 5.2,
    (CODE, "competitive_coding_cpp.part_01"): 5.2,
    (CODE, "competitive_coding_python.part_00"): 5.2,
    (CODE, "competitive_coding_python.part_01"): 5.1,
    (CODE, "infinibyte.part_00"): 1.0,
    (CODE, "infinibyte.part_01"): 1.0,
    ("nvidia/Nemotron-SWE-v1", None): 3.0,
    ("nvidia/Nemotron-Math-Proofs-v1", "lean"): 2.0,
    ("nvidia/Nemotron-Agentic-v1", "interactive_agent"): 1.0,
    ("nvidia/Nemotron-Agentic-v1", "tool_calling"): 1.0,
}
MISSING = {
    "science": 12.8, "competition math": 9.9, "multilingual": 7.4, "math with tools": 4.9, "financial reasoning": 3.0,
    "long context": 2.0, "agentic programming": 2.0, "low-effort reasoning": 2.0, "terminal use": 1.5, "CUDA": 0.5,
    "safety": 0.5, "SQL": 0.5, "search": 0.5,
}  # fmt: skip
GROUPS = {
    REUSED: {"chat, instruction following", "structured outputs", "Infinibyte", "formal proofs (Lean)"},
    REFRESHED: {
        "competition math", "math with tools", "competition code, C++", "competition code, Python",
        "conversational tool use", "multilingual", "science",
    },
    NEW: {
        "software engineering", "agentic programming", "long context", "financial reasoning", "CUDA", "safety",
        "search", "terminal use", "SQL", "low-effort reasoning",
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def shipped():
    return read_blend(config_dir() / "data_prep" / "blend.json")


def test_the_shipped_blend_has_the_documented_weights(shipped):
    assert {(d.path.removeprefix("hf://"), d.subset): d.weight for d in shipped.datasets} == PUBLIC
    assert {d.domain: d.weight for d in shipped.missing} == MISSING


def test_the_shipped_blend_has_the_documented_groups(shipped):
    groups = {}
    for row in domain_rows(shipped):
        groups.setdefault(row.group, set()).add(row.domain)
        assert row.scale
        assert row.source
        assert row.available or row.bring
    assert groups == GROUPS


def test_the_public_sets_cover_the_documented_share(shipped):
    assert coverage(shipped) == pytest.approx(0.48)
    assert "48% of the documented mix" in describe_missing(shipped)
    rows = domain_rows(shipped)
    assert sum(row.asked or 0 for row in rows) == pytest.approx(1)
    assert sum(row.covered or 0 for row in rows) == pytest.approx(1)


def test_what_is_brought_adds_to_the_coverage(tmp_path):
    entries = [
        {"path": "a.jsonl", "weight": 30},
        {"path": "mine.jsonl", "weight": 20, "domain": "science", "bring": "questions"},
        {"path": None, "weight": 60, "domain": "safety", "bring": "requests"},
    ]
    path = tmp_path / "blend.json"
    path.write_text(json.dumps({"_comment": "x", "public_share": 0.6, "datasets": entries}))
    blend = read_blend(path)
    assert coverage(blend) == pytest.approx(0.6 + 0.4 * 20 / 80)
    assert [(row.domain, row.available, row.covered) for row in domain_rows(blend)] == [
        ("a", True, pytest.approx(0.6)),
        ("science", True, pytest.approx(0.4)),
        ("safety", False, 0.0),
    ]
    with pytest.raises(UserError, match=r"safety.*strict"):
        refuse_missing(blend)


def test_datasets_of_a_domain_are_one_row_wherever_they_are_listed(tmp_path):
    path = tmp_path / "blend.json"
    names = {"a": "math", "b": "code", "c": "math"}
    entries = [{"path": f"{name}.jsonl", "domain": domain, "weight": 1} for name, domain in names.items()]
    path.write_text(json.dumps({"datasets": entries}))
    rows = domain_rows(read_blend(path), {"a": 0.5, "c": 0.25})
    assert [(row.domain, row.datasets, row.weight, row.got) for row in rows] == [
        ("math", ["a", "c"], 2, 0.75), ("code", ["b"], 1, 0.0),
    ]  # fmt: skip


def test_the_weight_of_a_domain_has_six_decimals(tmp_path):
    path = tmp_path / "blend.json"
    entries = [
        {"path": f"{name}.jsonl", "domain": "math", "weight": weight} for name, weight in (("a", 0.1), ("b", 0.1234564))
    ]
    path.write_text(json.dumps({"datasets": entries}))
    assert [row.weight for row in domain_rows(read_blend(path))] == [0.223456]


@pytest.mark.parametrize(
    ("valid", "covered"),
    [
        ([{"path": "b.jsonl"}], 0.75),  # without weights, it is no part of the mix
        ([{"path": "b.jsonl", "weight": 1}], (0.75 + 1) / 2),
        ([{"path": None, "weight": 1, "domain": "held out", "bring": "rows"}], 0.75 / 2),
    ],
)
def test_of_two_splits_the_coverage_is_the_average_of_those_with_weights(tmp_path, valid, covered):
    train = [{"path": "a.jsonl", "weight": 3}, {"path": None, "weight": 1, "domain": "science", "bring": "questions"}]
    path = tmp_path / "blend.json"
    path.write_text(json.dumps({"train": train, "valid": valid}))
    assert coverage(read_blend(path)) == pytest.approx(covered)


@pytest.mark.parametrize("share", [0.6, 1, 1.0])
def test_what_is_public_may_be_a_part_or_all(tmp_path, share):
    path = tmp_path / "blend.json"
    path.write_text(json.dumps({"public_share": share, "datasets": [{"path": "a.jsonl", "weight": 3}]}))
    assert read_blend(path).public_share == share
    assert coverage(read_blend(path)) == 1  # there is nothing else to bring


def test_without_weights_there_are_no_shares(tmp_path):
    path = tmp_path / "blend.json"
    path.write_text(json.dumps({"datasets": [{"path": "a.jsonl"}]}))
    (row,) = domain_rows(read_blend(path))
    assert (row.asked, row.covered, coverage(read_blend(path))) == (None, None, None)
    missing = {"path": None, "weight": None, "domain": "safety", "bring": "requests"}
    path.write_text(json.dumps({"datasets": [{"path": "a.jsonl"}, missing]}))
    assert describe_missing(read_blend(path)) == "there is no data for safety"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"datasets": [{"name": "x", "path": None}]}, r"datasets\[0\] has no path"),
        ({"datasets": [{"name": "x", "path": None, "bring": "rows"}]}, "no dataset with a path"),
        ({"public_share": 0, "datasets": [{"path": "a.jsonl"}]}, "public_share is 0"),
        ({"public_share": True, "datasets": [{"path": "a.jsonl"}]}, "public_share is True"),
        ({"public_share": 48, "datasets": [{"path": "a.jsonl"}]}, "public_share is 48"),
    ],
)
def test_what_a_blend_may_not_say(tmp_path, content, message):
    path = tmp_path / "blend.json"
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=message):
        read_blend(path)
