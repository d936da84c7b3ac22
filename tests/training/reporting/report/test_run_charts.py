"""Which charts a run has, with which curves and marks."""

from pathlib import Path

import pytest
from tests.training.reporting.report.made_up import END, START, record, write_run

from nemotron.charts import Chart, Marker
from nemotron.training.reporting.report.run_charts import charts_of_run, charts_of_runs, label_of, marks_of
from nemotron.training.reporting.report.run_files import RunFiles

OTHERS = [
    "Learning rate",
    "Gradient norm before clipping",
    "Throughput",
    "Supervised tokens of an iteration",
    "Memory of the last rank's GPU, highest so far",
]


def by_title(charts: list[Chart]) -> dict[str, Chart]:
    return {chart.title: chart for chart in charts}


def curves_of(chart: Chart) -> list[tuple[str, str, int | None, list[float]]]:
    return [(each.name, each.kind, each.color, [float(y) for y in each.y]) for each in chart.series]


def test_the_chart_of_losses_has_both_averages_on_each_split(tmp_path: Path) -> None:
    write_run(tmp_path, [record(1), record(2)], validation=[{"iteration": 2, "token_loss": 6.5, "sample_loss": 7.5}])
    (tmp_path / "test.jsonl").write_text('{"iteration": 2, "token_loss": 6.25, "sample_loss": 7.25}\n')
    loss = by_title(charts_of_run(RunFiles(tmp_path)))["Loss"]
    assert curves_of(loss) == [
        ("average per token", "line", 0, [7, 6]),
        ("average per conversation", "line", 1, [8, 7]),
        ("valid: average per token", "dots", 2, [6.5]),
        ("valid: average per conversation", "dots", 3, [7.5]),
        ("test: average per token", "dots", 4, [6.25]),
        ("test: average per conversation", "dots", 5, [7.25]),
    ]
    assert [each.trend for each in loss.series] == [True, True, False, False, False, False]


def test_each_depth_of_multi_token_prediction_has_a_curve_next_to_its_evaluation(tmp_path: Path) -> None:
    """Depth 2 comes before depth 10."""
    second = {"mtp_10_loss": 5.0, "mtp_2_loss": 4.0}
    run = RunFiles(write_run(tmp_path, [record(1, **second)], validation=[{"iteration": 1, "mtp_2_loss": 4.5}]))
    loss = by_title(charts_of_run(run))["Multi-token prediction: loss"]
    shown = curves_of(loss)
    assert [curve[:3] for curve in shown] == [
        ("depth 1", "line", 0), ("valid: depth 1", "dots", 1),
        ("depth 2", "line", 2), ("valid: depth 2", "dots", 3),
        ("depth 10", "line", 18), ("valid: depth 10", "dots", 19),
    ]  # fmt: skip
    assert [values for *_, values in shown[2:4]] == [[4.0], [4.5]]
    assert [label for label, *_ in curves_of(by_title(charts_of_run(run))["Multi-token prediction: acceptance"])] == [
        "depth 1", "valid: depth 1",
    ]  # fmt: skip


def test_charts_that_say_nothing_new_are_left_out(tmp_path: Path) -> None:
    """Seconds only where no tokens/s are known; skipped batches only where there were any."""
    after_mtp = slice(3, None)
    assert [*by_title(charts_of_run(RunFiles(write_run(tmp_path))))][after_mtp] == OTHERS
    run = RunFiles(write_run(tmp_path, [record(1, skipped_batches=1)], history=[]))
    others = [*OTHERS[:3], "Seconds per iteration", *OTHERS[3:], "Skipped batches so far"]
    assert [*by_title(charts_of_run(run))][after_mtp] == others


def test_throughput_is_computed_and_a_learning_rate_has_no_trend(tmp_path: Path) -> None:
    charts = by_title(charts_of_run(RunFiles(write_run(tmp_path))))
    assert curves_of(charts["Throughput"]) == [("tokens/s", "line", 0, [4000] * 4)]
    assert [charts[name].series[0].trend for name in ("Throughput", "Learning rate")] == [True, False]


@pytest.mark.parametrize(("highest", "log"), [(30.0, False), (31.0, True)])
def test_gradient_norms_that_span_more_than_30_times_the_median_have_a_log_scale(
    tmp_path: Path, highest: float, log: bool
) -> None:
    norms = [1.0, 1.0, highest, None]
    run = RunFiles(write_run(tmp_path, [record(at, grad_norm=norm) for at, norm in enumerate(norms, 1)]))
    charts = by_title(charts_of_run(run))
    assert charts["Gradient norm before clipping"].log is log
    assert not any(chart.log for title, chart in charts.items() if title != "Gradient norm before clipping")


def test_norms_of_zero_have_no_log_scale(tmp_path: Path) -> None:
    run = RunFiles(write_run(tmp_path, [record(1, grad_norm=0.0)]))
    assert not by_title(charts_of_run(run))["Gradient norm before clipping"].log


def test_stages_resumptions_and_checkpoints_are_marked(tmp_path: Path) -> None:
    (tmp_path / "checkpoints/iter_0002000").mkdir(parents=True)
    run = RunFiles(write_run(tmp_path, history=[START, END, {**START, "iteration": 2}]))
    assert marks_of(run) == [
        Marker(1, "token stage"),
        Marker(3, "sample stage"),
        Marker(2, "resumed"),
        Marker(2000, "checkpoint 2,000", quiet=True),
    ]
    assert by_title(charts_of_run(run))["Loss"].markers == marks_of(run)
    assert len({chart.group for chart in charts_of_run(run)} - {None, ""}) == 1  # they show the same iterations


def test_several_runs_have_a_curve_each_in_every_chart(tmp_path: Path) -> None:
    validation = [{"iteration": 1, "token_loss": 6.5}]
    runs = {
        name: RunFiles(write_run(tmp_path / name, [record(1, token_loss=loss), record(3)], validation=validation))
        for name, loss in (("a", 7.0), ("b", 5.0))
    }
    charts = charts_of_runs(runs)
    assert [chart.title for chart in charts] == [
        "Training loss, average per token",
        "Valid loss, average per token",
        "Training loss, average per sample",
        "Valid loss, average per sample",
        "Multi-token prediction: loss of depth 1",
        "Multi-token prediction: acceptance of depth 1",
        *OTHERS[:3], "Seconds per iteration", *OTHERS[3:],
    ]  # fmt: skip
    assert curves_of(charts[0]) == [("a", "line", 0, [7, 5]), ("b", "line", 1, [5, 5])]
    assert curves_of(charts[1]) == [("a", "dots", 0, [6.5]), ("b", "dots", 1, [6.5])]
    assert curves_of(charts[5]) == [("a", "line", 0, [0.1, 0.3]), ("b", "line", 1, [0.1, 0.3])]
    # A change of the stage is marked, and not the stage that each begins with.
    assert charts[0].markers == [Marker(3, f"{name}: sample stage") for name in "ab"]


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("token_loss", "average per token"),
        ("sample_loss", "average per sequence"),
        ("mtp_12_loss", "MTP depth 12 loss"),
        ("mtp_1_acceptance", "MTP depth 1 acceptance"),
        ("other_loss", "other_loss"),
    ],
)
def test_a_loss_is_called_by_what_it_averages(name: str, label: str) -> None:
    assert label_of(name, "sequence") == label
