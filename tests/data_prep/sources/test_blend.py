"""Blend files: both forms, their mistakes, and what weights mean."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemotron.data_prep.selection.mix import UnreachableMix, mix_counts
from nemotron.data_prep.sources import blend as blend_module
from nemotron.data_prep.sources.blend import Dataset, read_blend
from nemotron.errors import UserError


def write(folder: Path, content: Any) -> Path:
    path = folder / "blend.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_paths_are_relative_to_the_blend_file(tmp_path: Path) -> None:
    entries = [{"name": "chat", "path": "data/chat.jsonl", "weight": 2}, {"path": "/abs/math.jsonl.gz", "weight": 1}]
    chat, math = read_blend(write(tmp_path, {"datasets": entries})).datasets
    assert (chat.name, chat.path, chat.weight) == ("chat", str(tmp_path / "data/chat.jsonl"), 2)
    assert (math.name, math.path) == ("math", "/abs/math.jsonl.gz")


def test_splits_may_be_listed_by_hand(tmp_path: Path) -> None:
    blend = read_blend(write(tmp_path, {"train": [{"path": "a.jsonl"}], "valid": [{"path": "b.jsonl"}]}))
    assert [(dataset.name, dataset.goes_to) for dataset in blend.datasets] == [("a", "train"), ("b", "valid")]


def test_a_blend_may_have_as_many_bytes_as_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, {"datasets": [{"path": "a.jsonl"}]})
    monkeypatch.setattr(blend_module, "LARGEST_BLEND", path.stat().st_size)
    assert len(read_blend(path).datasets) == 1
    monkeypatch.setattr(blend_module, "LARGEST_BLEND", path.stat().st_size - 1)
    with pytest.raises(UserError, match="bytes"):
        read_blend(path)


def test_names_become_folder_names(tmp_path: Path) -> None:
    blend = read_blend(write(tmp_path, {"datasets": [{"name": "org/set one", "path": "a.jsonl"}]}))
    assert blend.datasets[0].name == "org-set-one"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"blend.json:1 is not valid JSON"),
        ([{"path": "a.jsonl"}], "is not a blend"),
        ({"dataset": [{"path": "a.jsonl"}]}, "is not a blend"),
        ({"datasets": [{"path": "x", "max_rows": 5}]}, 'unknown key "max_rows"'),
        ({"datasets": [{"path": "x", "goes_to": "test"}]}, 'unknown key "goes_to"'),  # it is not told by the entry
        ({"datasets": []}, "lists no dataset"),
        ({"datasets": [{"name": "x"}]}, r"datasets\[0\] has no path"),
        ({"datasets": [{"path": "x", "wieght": 1}]}, 'unknown key "wieght". Did you mean "weight"?'),
        ({"datasets": [5]}, r"datasets\[0\]"),
        ({"datasets": [{"path": "x"}], "other": 1}, "is not a blend"),
        ({}, "is not a blend"),
        ({"datasets": [{"path": "x"}], "public_share": "all"}, "public_share is 'all'"),
        ({"datasets": [{"path": "x", "weight": "1"}]}, "has the weight '1'"),
        ({"datasets": [{"path": "x", "weight": 0}]}, "has the weight 0"),
        ({"datasets": [{"path": "x", "weight": True}]}, "has the weight True"),
        ({"datasets": [{"path": "x", "repeat": "yes"}]}, "has repeat 'yes'. Write true or false."),
        ({"datasets": [{"path": "x", "recursive": 1}]}, "has recursive 1. Write true or false."),
        ({"datasets": [{"path": "x", "name": 7}]}, "has name 7. It must be text."),
        ({"datasets": [{"path": "x", "reasoning": "low"}]}, "has reasoning 'low'. Write an object"),
        ({"datasets": [{"path": "x", "checks": "languages"}]}, "has checks 'languages'. List some of"),
        (
            {"datasets": [{"path": "x", "checks": ["langauges"]}]},
            'unknown check "langauges". Did you mean "languages"?',
        ),
        ({"datasets": [{"bring": "Buy it."}]}, r"datasets\[0\] has no path"),
        ({"datasets": [{"path": "x", "name": " "}]}, "has name ' '. It must be text."),
        (
            {"datasets": [{"path": "x", "format": "sharegtp"}]},
            'the unknown format "sharegtp". Did you mean "sharegpt"?',
        ),
        ({"datasets": [{"path": "a", "name": "x y"}, {"path": "b", "name": "x/y"}]}, 'two datasets named "x-y"'),
        ({"datasets": [{"path": "x.jsonl"}, {"path": "x.jsonl"}]}, 'two datasets named "x"'),
        ({"datasets": [{"path": "x", "weight": 1}, {"path": "y"}]}, 'a weight, but not "y"'),
        ({"train": [{"path": "x"}], "valid": [{"path": "y", "weight": 1}, {"path": "z"}]}, 'under "valid" a weight'),
        ({"train": 5}, "is not a blend"),
        ({"train": [{"path": "x"}], "valid": 5}, "is not a blend"),
        ({"train": [{"path": "x"}], "vaild": []}, "is not a blend"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(UserError) as error:
        read_blend(write(tmp_path, content))
    assert message.replace("\\", "") in str(error.value)
    assert error.value.message.startswith(str(tmp_path / "blend.json"))
    assert error.value.hint


def test_a_missing_blend_suggests_a_neighbour(tmp_path: Path) -> None:
    path = write(tmp_path, {})
    with pytest.raises(UserError, match=r"blnd\.json") as error:
        read_blend(tmp_path / "blnd.json")
    assert error.value.hint == f'Did you mean "{path}"?'


def test_a_folder_without_data_is_no_blend(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=str(tmp_path)):
        read_blend(tmp_path)
    path = write(tmp_path, {})
    with pytest.raises(UserError, match=str(tmp_path)) as error:
        read_blend(tmp_path)
    assert error.value.hint == f'Did you mean "{path}"?'


ROW = '{"messages": [{"role": "user", "content": "Hi"}], "train": true}'


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("chat.jsonl", ROW),
        ("chat.jsonl.zst", "compressed: not looked into"),
        ("chat.parquet", "likewise"),
        ("lines.json", f"{ROW}\n{ROW}\n"),
        ("array.json", f"[{ROW}]"),
        ("pretty.json", json.dumps(json.loads(ROW), indent=1)),
        ("pretty_rows.json", "\n".join([json.dumps(json.loads(ROW), indent=1)] * 2)),
    ],
)
def test_a_data_file_is_a_blend_of_one(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    blend = read_blend(path)
    assert blend.path == str(path)
    assert blend.datasets == (Dataset(name.split(".")[0], str(path)),)


def test_so_is_a_folder_a_glob_and_a_url(tmp_path: Path) -> None:
    (tmp_path / "chat").mkdir()
    (tmp_path / "chat" / "a.jsonl").write_text(ROW)
    for path, name in [
        (str(tmp_path / "chat"), "chat"),
        (str(tmp_path / "ch*" / "*.jsonl"), "dataset"),
        ("hf://org/math", "math"),
        ("s3://bucket/sft/chat-*.jsonl", "chat"),
    ]:
        assert read_blend(path).datasets == (Dataset(name, path),)


def test_a_folder_with_data_and_a_blend_may_mean_either(tmp_path: Path) -> None:
    blend = write(tmp_path, {"datasets": [{"path": "a.jsonl"}]})
    (tmp_path / "a.jsonl").write_text(ROW)
    with pytest.raises(UserError, match=r"blend\.json") as error:
        read_blend(tmp_path)
    assert error.value.hint is not None
    assert str(blend) in error.value.hint
    assert f"{tmp_path}/*.jsonl" in error.value.hint


def test_comments_are_skipped_and_descriptions_are_named(tmp_path: Path) -> None:
    content = {
        "_comment": "the public part", "_missing_categories": {"safety": 0.5},
        "datasets": [{"_note": "x", "path": "a.jsonl", "weight": 1, "text_field": "text", "license": "cc-by-4.0"}],
    }  # fmt: skip
    blend = read_blend(write(tmp_path, content))
    assert blend.datasets == (Dataset("a", str(tmp_path / "a.jsonl"), weight=1),)
    assert blend.unused_keys == ("text_field of datasets[0]", "license of datasets[0]")
    words = ["category", "citation", "comment", "comments", "description", "homepage", "language", "note", "notes"]
    words += ["tags", "url", "version"]
    described = read_blend(write(tmp_path, {"datasets": [{"path": "a.jsonl", **dict.fromkeys(words, "x")}]}))
    assert described.unused_keys == tuple(f"{word} of datasets[0]" for word in words)


def test_null_is_no_value(tmp_path: Path) -> None:
    given = {"path": "x.jsonl", "weight": None, "filter": None, "repeat": None, "format": None}
    assert read_blend(write(tmp_path, {"datasets": [given]})).datasets == (Dataset("x", str(tmp_path / "x.jsonl")),)


def test_subsets_of_one_dataset_have_names_of_their_own(tmp_path: Path) -> None:
    entries = [{"path": "hf://org/math", "subset": subset, "split": "train"} for subset in ("algebra", "geometry")]
    names = [dataset.name for dataset in read_blend(write(tmp_path, {"datasets": entries})).datasets]
    assert names == ["math-algebra-train", "math-geometry-train"]


def test_what_may_repeat_does_not_limit_the_mix() -> None:
    assert mix_counts([100, 5], [1, 1], repeats=[False, True]) == [100, 100]
    assert mix_counts([100, 5], [1, 1], repeats=[True, False]) == [5, 5]
    assert mix_counts([100, 5], [1, 3], repeats=[True, True]) == [100, 300]  # each at least once
    assert mix_counts([100, 5], [1, None]) == [100, 5]  # no shares without a weight for each


def test_a_mix_may_have_a_given_size() -> None:
    assert mix_counts([100, 100], [1, 2], samples=30) == [10, 20]
    assert mix_counts([100, 100, 100], [1, 1, 1], samples=100) == [34, 33, 33]
    assert mix_counts([60, 20], [None, None], samples=40) == [30, 10]
    assert mix_counts([10, 20], [1, 1], repeats=[True, False], samples=40) == [20, 20]
    assert mix_counts([10, 0], [1, 1], samples=8) == [8, 0]


def test_a_mix_that_would_have_to_repeat_says_what_can_be_had() -> None:
    with pytest.raises(UnreachableMix) as error:
        mix_counts([30, 100], [1, 2], samples=99)
    assert (error.value.number, error.value.asked, error.value.most) == (0, 33, 90)
    assert mix_counts([30, 100], [1, 2], samples=90) == [30, 60]
    with pytest.raises(UnreachableMix) as error:  # that another dataset may repeat is no help
        mix_counts([10, 30], [1, 1], repeats=[True, False], samples=80)
    assert (error.value.number, error.value.asked, error.value.most) == (1, 40, 60)


def test_without_weights_everything_is_used() -> None:
    assert mix_counts([10, 3], [None, None]) == [10, 3]


def test_the_dataset_that_runs_out_first_limits_the_mix() -> None:
    assert mix_counts([100, 30, 50], [5, 3, 2]) == [50, 30, 20]


def test_an_empty_dataset_does_not_empty_the_mix() -> None:
    assert mix_counts([100, 0], [1, 1]) == [100, 0]


@given(st.lists(st.tuples(st.integers(0, 1000), st.floats(0.01, 100)), min_size=1, max_size=6))
def test_the_mix_is_the_largest_one_in_the_asked_shares(datasets: list[tuple[int, float]]) -> None:
    available, weights = [count for count, _ in datasets], [weight for _, weight in datasets]
    counts = mix_counts(available, list(weights))
    assert all(0 <= count <= most for count, most in zip(counts, available, strict=True))
    present = [(count, most, weight) for count, (most, weight) in zip(counts, datasets, strict=True) if most]
    if present:
        assert any(count == most for count, most, _ in present)  # nothing could be added
        scale = max(count / weight for count, _, weight in present)
        assert all(
            abs(count - weight * scale) <= 1 + weight / min(w for _, _, w in present) for count, _, weight in present
        )


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(0.01, 100)), min_size=1, max_size=6), st.integers(1, 1000))
def test_a_mix_of_a_given_size_has_it_in_the_asked_shares(datasets: list[tuple[int, float]], samples: int) -> None:
    available, weights = [count for count, _ in datasets], [weight for _, weight in datasets]
    counts = mix_counts(available, list(weights), repeats=[True] * len(datasets), samples=samples)
    present = [(count, weight) for count, (most, weight) in zip(counts, datasets, strict=True) if most]
    total = sum(weight for _, weight in present)
    assert sum(counts) == (samples if present else 0)
    assert all(abs(count - samples * weight / total) < 1 + 1e-6 for count, weight in present)


@pytest.mark.parametrize("weight", [1e308, 5e-324])
def test_weights_too_large_or_small_to_be_added_are_shares_all_the_same(weight: float) -> None:
    assert mix_counts([80, 80], [weight, weight], samples=100) == [50, 50]
    assert mix_counts([80, 40], [weight, weight]) == [40, 40]
    with pytest.raises(UnreachableMix) as error:
        mix_counts([80, 40], [weight, weight], samples=100)
    assert (error.value.asked, error.value.most) == (50, 80)


@pytest.mark.parametrize(
    ("start", "filler", "count"), [('{"datasets": ', "[", 200_000), ('{"datasets": []}', " ", 70_000_000)]
)
def test_a_file_that_would_fill_the_memory_is_refused(tmp_path: Path, start: str, filler: str, count: int) -> None:
    with pytest.raises(UserError, match=r"blend\.json"):
        read_blend(write(tmp_path, start + filler * count))


def test_comments_begin_with_a_mark_or_a_line(tmp_path: Path) -> None:
    commented = {"#": "a", "// b": "b", "_c": "c", "datasets": [{"path": "a.jsonl"}]}
    assert [dataset.name for dataset in read_blend(write(tmp_path, commented)).datasets] == ["a"]


@pytest.mark.parametrize(
    ("reasoning", "low"), [(None, False), ({}, False), ({"effort": "high"}, False), ({"effort": "low"}, True)]
)
def test_short_thoughts_are_marked_by_their_effort(reasoning: dict[str, Any] | None, low: bool) -> None:
    assert Dataset("a", "a.jsonl", reasoning=reasoning).has_low_effort is low


@pytest.mark.parametrize(("share", "fits"), [(0.5, True), (1, True), (None, True), (1.5, False), (0, False)])
def test_a_public_share_is_at_most_all(tmp_path: Path, share: float | None, fits: bool) -> None:
    path = write(tmp_path, {"datasets": [{"path": "a.jsonl"}], "public_share": share})
    if fits:
        assert read_blend(path).public_share == share
    else:
        with pytest.raises(UserError, match=f"public_share is {share}"):
            read_blend(path)


def test_a_dataset_to_bring_is_named_by_what_it_teaches(tmp_path: Path) -> None:
    entries = [{"path": "a.jsonl"}, {"path": None, "bring": "Buy it.", "domain": "law"}]
    [missing] = read_blend(write(tmp_path, {"datasets": entries})).missing
    assert missing.name == "law"
