"""What a user may call a run."""

import json
from pathlib import Path

import pytest
from tests.training.reporting.report.made_up import write_run

from nemotron.errors import UserError
from nemotron.lineage.log import log_artifact
from nemotron.training.reporting.report.find_run import find_run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run whose model is recorded, in output/sft; its checkpoints are on another disk."""
    folder, checkpoints = write_run(tmp_path / "output/sft"), tmp_path / "scratch/sft"
    (checkpoints / "iter_0000004").mkdir(parents=True)
    record = json.dumps({"output_dir": str(folder), "checkpoints": str(checkpoints)})
    for place in (folder, checkpoints):
        (place / "run.json").write_text(record)
    log_artifact(name="ModelArtifact-sft", type="model", path=checkpoints, root=tmp_path / "artifacts", digest="x")
    return folder


@pytest.mark.parametrize("named", ["output/sft", "scratch/sft", "scratch/sft/iter_0000004", "ModelArtifact-sft:v1"])
def test_a_run_is_found_by_its_folder_its_checkpoints_and_its_artifact(
    folder: Path, tmp_path: Path, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_run(named, tmp_path / "artifacts").absolute() == folder


def test_a_run_that_was_moved_is_found_where_it_is(folder: Path, tmp_path: Path) -> None:
    moved = folder.rename(tmp_path / "moved")
    assert find_run(str(moved), tmp_path) == moved


@pytest.mark.parametrize(
    ("named", "hint"),
    [
        ("output", "output/sft"),
        ("output/sfd", '"sft"'),
        ("ModelArtifact-sfd", '"ModelArtifact-sft"'),
        ("output/sft/metrics.jsonl", "run.output_dir"),
        ("artifacts", "run.output_dir"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_what_is_no_run_is_refused_with_the_nearest(
    tmp_path: Path, named: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as refused:
        find_run(named, Path("artifacts"))
    assert hint in str(refused.value)


def test_a_run_of_an_earlier_release_is_found_from_its_checkpoints_and_not_from_its_other_folders(
    tmp_path: Path,
) -> None:
    """As an earlier release left it: only names say what is near a run."""
    run = write_run(tmp_path / "run")
    for below in ("checkpoints/iter_0000004", "logs"):
        (run / below).mkdir(parents=True)
    for named in ("", "checkpoints", "checkpoints/iter_0000004"):
        assert find_run(str(run / named), tmp_path) == run
    for named in ("logs", "checkpoints/iter_0000004/x"):
        (run / named).mkdir(exist_ok=True)
        with pytest.raises(UserError, match="is not a run"):
            find_run(str(run / named), tmp_path)


def test_three_runs_are_suggested_from_three_levels_below_the_nearest_first(tmp_path: Path) -> None:
    for name in ("d/e/g", "d/e/f", "b", "a/c", "too/deep/to/see", "b/checkpoints/iter_0000004"):
        write_run(tmp_path / name)
    with pytest.raises(UserError) as refused:
        find_run(str(tmp_path), tmp_path)
    assert refused.value.hint == f"Did you mean {' or '.join(f'{tmp_path}/{name}' for name in ('b', 'a/c', 'd/e/f'))}?"


@pytest.mark.parametrize("mark", ["run.json", "metrics.jsonl", "history.jsonl"])
def test_a_run_is_one_from_its_first_record(tmp_path: Path, mark: str) -> None:
    (tmp_path / mark).write_text("{}\n")
    assert find_run(str(tmp_path), tmp_path / "artifacts") == tmp_path


def test_an_artifact_that_no_run_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    log_artifact(name="Mine", type="model", path=tmp_path / "model", root=tmp_path / "artifacts")
    with pytest.raises(UserError, match=r"Mine:v1 at .*/model was not made by a training run"):
        find_run("Mine", tmp_path / "artifacts")
