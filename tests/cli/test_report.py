"""`nemotron super3 report`: the page of a run, or of several."""

from pathlib import Path

import pytest
from tests.training.reporting.report.made_up import START, write_run

from nemotron.cli.app import run
from nemotron.files.folder_lock import Holder
from nemotron.training.reporting.report import run_files


def test_a_run_gets_its_page_in_its_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "sft")
    assert run(["super3", "report", "sft"]) == 0
    assert str(tmp_path / "sft/report.html") in capsys.readouterr().out
    assert "average per token" in (tmp_path / "sft/report.html").read_text()


def test_several_runs_get_one_page(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_run(tmp_path / name)
    assert run(["super3", "report", "a", "b", "./a"]) == 0
    assert "<title>2 runs</title>" in (tmp_path / "runs.html").read_text()
    assert run(["super3", "report", "a", "b", "-o", "pages/mine.html"]) == 0
    assert (tmp_path / "pages/mine.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "said"), [(["nothing/here"], "nothing/here"), (["a", "-o", "."], "--out"), (["."], "a?")]
)
def test_what_cannot_be_done_is_refused_and_nothing_is_written(
    tmp_path: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "a")
    assert run(["super3", "report", *arguments]) == 1
    assert said in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.html"))


def test_watching_ends_with_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_run(tmp_path / "sft", history=[START])
    monkeypatch.setattr(run_files, "find_holder", lambda _: Holder("", "here", 1, "now"))
    seen = []

    def sleep(_seconds: float) -> None:
        seen.append("location.reload" in (folder / "report.html").read_text())
        if len(seen) == 2:
            write_run(folder)  # with its end

    monkeypatch.setattr("time.sleep", sleep)
    assert run(["super3", "report", "sft", "--watch"]) == 0
    assert seen == [True, True]
    assert "location.reload" not in (folder / "report.html").read_text()
