"""One page of several runs."""

from pathlib import Path

import pytest
from tests.browser import Browser
from tests.training.reporting.report.made_up import END, START, record, write_run

from nemotron.training.reporting.report.compare import _numbers, differences, name_runs, render_comparison
from nemotron.training.reporting.report.run_files import RunFiles


@pytest.fixture
def runs(tmp_path: Path) -> dict[str, RunFiles]:
    """Two runs with different learning rates; the second is shorter, and on the next version of the data."""
    places = [
        f"run:\n  output_dir: {name}\noptimizer:\n  lr: {lr}\nrng:\n  seed: 7\n"
        for name, lr in (("a", "1.0e-5"), ("b", "2.0e-5"))
    ]
    starts = [{**START, "data": {"reference": f"SFTDataArtifact-sft:v{version}"}} for version in (1, 2)]
    write_run(tmp_path / "a", config=places[0], history=[starts[0]])
    write_run(tmp_path / "b", [record(1), record(2, token_loss=3.25)], config=places[1], history=[starts[1]])
    return {name: RunFiles(tmp_path / name) for name in ("a", "b")}


def test_settings_that_differ_are_listed_and_places_are_not(runs: dict[str, RunFiles]) -> None:
    assert differences(runs) == [
        ("optimizer.lr", "1e-05", "2e-05"),
        ("data", "SFTDataArtifact-sft:v1", "SFTDataArtifact-sft:v2"),
    ]


def test_every_chart_has_a_curve_of_each_run(runs: dict[str, RunFiles]) -> None:
    html = render_comparison(runs)
    assert "<td>average per token, training</td><td>4.0000</td><td>3.2500</td>" in html
    assert "<td>rng.seed</td><td>7</td><td>7</td>" in html
    assert "<td>tokens/s</td><td>4,000</td><td>4,000</td>" in html
    assert html.count('"name":"a"') == html.count('"name":"b"') > 5
    assert '"label":"a: sample stage"' in html
    assert "location.reload" not in html


def test_the_numbers_of_a_run_are_its_last_and_for_valid_losses_the_lowest(tmp_path: Path) -> None:
    """Megatron's own `lm_loss` is the average that trains, and not shown again."""
    validation = [{"iteration": at, "token_loss": loss, "lm_loss": 1.0} for at, loss in ((2, 4.25), (4, 4.5))]
    run = RunFiles(write_run(tmp_path, validation=validation, history=[START, END]))
    assert _numbers({"a": run}) == [
        ("state", "finished"),
        ("iterations", "4"),
        ("optimizer.lr", "1e-05"),
        ("rng.seed", "7"),
        ("average per token, training", "4.0000"),
        ("average per sample, training", "5.0000"),
        ("MTP depth 1 loss, training", "6.0000"),
        ("MTP depth 1 acceptance, training", "0.4000"),
        ("average per token, valid", "4.5000"),
        ("average per token, valid, lowest", "4.2500"),
        ("last learning rate", "1e-05"),
        ("duration", "1 h 00 min"),
        ("tokens/s", "4,000"),
    ]


def test_a_loss_that_was_never_finite_is_left_out(tmp_path: Path) -> None:
    run = RunFiles(write_run(tmp_path, [record(1, token_loss=None)]))
    assert "average per token, training" not in dict(_numbers({"a": run}))


def test_a_number_that_only_some_runs_have_is_empty_for_the_others(tmp_path: Path) -> None:
    short, whole = (RunFiles(write_run(tmp_path / name)) for name in ("short", "whole"))
    whole.settings["train.global_batch_size"] = 8
    rows = _numbers({"short": short, "whole": whole})
    assert ("train.global_batch_size", "", "8") in rows
    assert [row[0] for row in rows] == [row[0] for row in _numbers({"whole": whole})]  # the order of the fullest


def test_runs_are_called_by_what_tells_them_apart() -> None:
    assert name_runs([Path("/out/one/sft"), Path("/out/two/sft")]) == ["one/sft", "two/sft"]
    assert name_runs([Path("/out/lr1"), Path("/other/lr2")]) == ["lr1", "lr2"]
    assert name_runs([Path("/out/lr1"), Path("/out/lr1")]) == ["/out/lr1", "/out/lr1"]


@pytest.mark.slow
def test_a_reader_sees_the_value_of_each_run(browser: Browser, runs: dict[str, RunFiles], tmp_path: Path) -> None:
    page = tmp_path / "runs.html"
    hostile = "<img src=x>" + "W" * 100
    page.write_text(render_comparison({"a": runs["a"], hostile: runs["b"]}))
    for width in (390, 1280):
        browser.open(page, width, dark=width == 390)
        assert browser.overflow() == []
        browser.hover(".u-over", 1 / 3)
        legend = "document.querySelector('.chart-legend')"
        assert browser.run(f"{legend}.innerText").startswith("iteration 2")
        assert browser.run(f"[...{legend}.querySelectorAll('b')].map((each) => each.innerText)") == ["6", "3.25"]
        assert browser.errors == []
