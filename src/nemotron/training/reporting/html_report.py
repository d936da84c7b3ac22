"""report.html: the curves of a run."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from nemotron.html_page import html_page
from nemotron.training.reporting.svg_chart import Line, Mark, line_chart

Record = Mapping[str, Any]

GREEN, BLUE, ORANGE, GREY = "#76b900", "#1f6fb4", "#d9822b", "#888888"


def render_report(
    title: str, metrics: Sequence[Record], validation: Sequence[Record], test: Sequence[Record] = ()
) -> str:
    """Render the report as a complete HTML document.

    Args:
        title: of the page.
        metrics, validation, test: the records of metrics.jsonl, validation.jsonl and test.jsonl (see metrics.py).
            Values that are absent or null are left out of the curves.
    """
    switches = _switches(metrics)
    averages = [
        Line("token average", _curve(metrics, "token_loss"), BLUE),
        Line("sample average", _curve(metrics, "sample_loss"), ORANGE),
        Line("trained on", _curve(metrics, "lm_loss"), GREEN),
    ]
    evaluated = [
        Line("token average, valid", _curve(validation, "token_loss"), BLUE, dots=True),
        Line("sample average, valid", _curve(validation, "sample_loss"), ORANGE, dots=True),
    ]
    charts = {
        "Loss": [*averages, *evaluated],
        "Multi-token prediction: loss": _mtp_lines(metrics, validation, "loss"),
        "Multi-token prediction: acceptance": _mtp_lines(metrics, validation, "acceptance"),
        "Learning rate": [Line("lr", _curve(metrics, "lr"), GREY)],
        "Gradient norm": [Line("before clipping", _curve(metrics, "grad_norm"), GREY)],
        "Seconds per iteration": [Line("seconds", _curve(metrics, "seconds"), GREY)],
    }
    table = _table(metrics, validation, test)
    return html_page(title, table + "".join(line_chart(name, lines, switches) for name, lines in charts.items()))


def _curve(records: Iterable[Record], name: str) -> list[tuple[float, float]]:
    return [(row["iteration"], row[name]) for row in records if row.get(name) is not None]


def _switches(metrics: Sequence[Record]) -> list[Mark]:
    """Mark where each stage of the loss begins."""
    marks, stage = [], None
    for row in metrics:
        if row.get("loss_stage") != stage:
            stage = row.get("loss_stage")
            marks.append(Mark(row["iteration"], f"{stage} stage"))
    return marks


def _mtp_lines(metrics: Sequence[Record], validation: Sequence[Record], quantity: str) -> list[Line]:
    lines = []
    for depth, color in ((1, BLUE), (2, ORANGE), (3, GREEN)):
        name = f"mtp_{depth}_{quantity}"
        lines.append(Line(f"depth {depth}", _curve(metrics, name), color))
        lines.append(Line(f"depth {depth}, valid", _curve(validation, name), color, dots=True))
    return lines


def _table(metrics: Sequence[Record], validation: Sequence[Record], test: Sequence[Record]) -> str:
    """Show the first and last value of everything that was measured on each split."""
    rows = [
        (name, records[0], records[-1])
        for name, records in (("training batch", metrics), ("valid split", validation), ("test split", test))
        if records
    ]
    if not rows:
        return "<p>No iteration was logged.</p>"
    columns = [key for key in rows[0][2] if key.endswith(("_loss", "_acceptance")) and key != "lm_loss"]
    head = "".join(f"<th>{escape(key.replace('_', ' '))}</th>" for key in columns)
    body = "".join(
        f"<tr><td>{name}</td>{''.join(f'<td>{_first_and_last(first, last, key)}</td>' for key in columns)}</tr>"
        for name, first, last in rows
    )
    return f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table>"


def _first_and_last(first: Record, last: Record, key: str) -> str:
    before, after = first.get(key), last.get(key)
    if after is None:
        return ""
    return f"{after:.4f}" if first is last or before is None else f"{before:.4f} &rarr; {after:.4f}"
