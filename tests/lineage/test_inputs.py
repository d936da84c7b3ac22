"""How what something was made from is named, wherever it lies."""

from pathlib import Path

import pytest

from nemotron.config import config_dir
from nemotron.lineage import log_artifact
from nemotron.lineage.inputs import describe_inputs, describe_source, make_local, make_portable

SHIPPED = config_dir() / "data_prep/blend_tiny.json"


def test_a_shipped_file_is_named_by_its_content_and_others_by_their_path(tmp_path: Path) -> None:
    reference, digest = describe_source(str(SHIPPED))
    kind, _, short = digest.partition(":")
    assert kind == "sha256"
    assert reference == f"bundled:data_prep/blend_tiny.json@{short[:12]}"
    for other in (f"{SHIPPED}.gone", "data_prep/blend_tiny.json", str(tmp_path)):
        assert describe_source(other) == (other, "")
    assert describe_source("s3://KEY:SECRET@bucket/x") == ("s3://***@bucket/x", "")


def test_an_input_in_the_folder_of_an_artifact_is_that_artifact(tmp_path: Path, monkeypatch) -> None:
    root, folder = tmp_path / "root", tmp_path / "data"
    (folder / "train/deep").mkdir(parents=True)
    (folder / "a.txt").touch()
    made = log_artifact(name="Data", type="dataset", path=folder, root=root)
    inside = [str(folder), f"{folder}/a.txt", f"{folder}/train"]
    assert describe_inputs(inside, {}, root) == ([made.reference], {})
    monkeypatch.chdir(tmp_path)
    outside = [f"{folder}/train/deep", f"{folder}/none", "data", str(tmp_path)]
    digests = {"data": "sha256:1", "unused": "sha256:2"}
    assert describe_inputs(outside, digests, root) == (outside, {"data": "sha256:1"})
    assert describe_inputs(inside[:1], {}, tmp_path / "other root") == (inside[:1], {})
    assert describe_inputs([made, *inside], {}, root)[0] == [made.reference]
    (folder / "7").touch()
    assert describe_inputs([f"{folder}/7"], {}, root)[0] == [made.reference]  # data has no iterations


@pytest.mark.parametrize("content", ["", "{}", '{"name": "Data"', "[]"])
def test_a_folder_with_a_damaged_record_is_an_input_by_its_path(tmp_path: Path, content: str) -> None:
    (tmp_path / "artifact.json").write_text(content)
    assert describe_inputs([str(tmp_path)], {}, tmp_path / "root") == ([str(tmp_path)], {})


@pytest.mark.parametrize("source", ["a/\0", "a/" + "b" * 300, "s3://bucket/x", "hf://org/chat"])
def test_what_is_no_path_of_this_machine_is_named_as_it_is(tmp_path: Path, source: str) -> None:
    assert describe_inputs([source], {}, tmp_path) == ([source], {})


def test_paths_of_shipped_files_are_the_same_on_every_machine() -> None:
    shipped = str(SHIPPED)
    value = {"a": [shipped, 5, (f"{config_dir()}", "bundle")], "b": {"c": shipped}, "d": None}
    portable = make_portable(value)
    name = "bundled:data_prep/blend_tiny.json"
    assert portable == {"a": [name, 5, [str(config_dir()), "bundle"]], "b": {"c": name}, "d": None}
    assert make_local(portable) == {"a": [shipped, 5, [str(config_dir()), "bundle"]], "b": {"c": shipped}, "d": None}
