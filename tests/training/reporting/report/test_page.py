"""report.html of a run: what it says, and that a reader sees it."""

import re
from pathlib import Path

import pytest
from tests.browser import Browser
from tests.training.reporting.report.made_up import END, START, record, write_run

from nemotron.training.reporting.report import page
from nemotron.training.reporting.report.page import render_run, write_report
from nemotron.training.reporting.report.run_files import RunFiles

HOSTILE = "</script><img src=x onerror=\"console.error('ran')\">\x1b[31m\u202e" + "W" * 150


def text_of(html: str) -> str:
    """What a reader sees, with one space between any two words."""
    without = re.sub(r"<(script|style).*?</\1>", " ", html, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", without).split())


def page_of(folder: Path, **options: bool) -> str:
    return render_run(RunFiles(folder, **options), folder)


def test_the_page_has_both_averages_mtp_and_the_stages(tmp_path: Path) -> None:
    html = page_of(write_run(tmp_path))
    text = text_of(html)
    assert "average per token 7.0000 → 4.0000 4.5000" in text  # training, valid
    assert "average per conversation 8.0000 → 5.0000" in text
    assert "MTP depth 1 acceptance 0.1000 → 0.4000" in text
    assert "lm_loss" not in text  # the average that trains, under Megatron's name
    assert '{"at":1,"label":"token stage"' in html
    assert '{"at":3,"label":"sample stage"' in html


def test_the_page_counts_what_was_seen_and_how_fast(tmp_path: Path) -> None:
    text = text_of(page_of(write_run(tmp_path)))
    assert "iterations 4 of 4" in text
    assert "packs seen 32 of 1,000 tokens: 32,000 positions" in text
    assert "supervised tokens seen 400" in text
    assert "conversations seen 40" in text
    assert "duration 1 h 00 min" in text
    assert "tokens/s 4,000" in text  # 8 packs of 1,000 tokens in 2 seconds


def test_iterations_that_were_not_logged_count_like_those_that_were(tmp_path: Path) -> None:
    text = text_of(page_of(write_run(tmp_path, [record(10), record(20)])))
    assert "supervised tokens seen about 2,000" in text


@pytest.mark.parametrize(
    ("history", "seconds"),
    [
        ([START, END], 3600),
        ([START, END, {**START, "time": "2026-01-01T05:00:00+00:00"}, {**END, "time": "2026-01-01T05:30:00+00:00"}],
         5400),  # the pause between does not count
        ([START, {**START, "time": "2026-01-01T00:50:00+00:00"}, END], 600),  # without what was killed
        ([{**START, "time": "2026-01-01T02:00:00+00:00"}, END], 0),  # a clock that was set back
        ([], None),
    ],
)  # fmt: skip
def test_the_duration_is_that_of_each_start_up_to_its_end(tmp_path: Path, history: list, seconds: float | None) -> None:
    assert RunFiles(write_run(tmp_path, history=history)).count_seconds() == seconds


def test_changed_settings_come_first_and_secrets_are_masked(tmp_path: Path) -> None:
    config = "optimizer:\n  lr: 1.0e-5\nrng:\n  seed: 7\nenv_vars:\n  MY_TOKEN: visible123\ntrain: {}\n"
    html = page_of(write_run(tmp_path, config=config))
    assert "optimizer.lr 1e-05 command line rng.seed 7 mine.yaml:3 All 3 settings" in text_of(html)
    assert "visible123" not in html


def test_what_happened_is_told_in_order(tmp_path: Path) -> None:
    history = [
        START,
        {**START, "iteration": 2, "time": "2026-01-02T00:00:00+00:00", "notes": ["The batch size changed."]},
        {**END, "state": "failed", "message": "Training diverged: nan", "iteration": 3},
    ]
    text = text_of(page_of(write_run(tmp_path, history=history)))
    told = text[text.index("What happened") :]
    order = ["Started", "No end was recorded", "Resumed after iteration 2", "batch size", "diverged: nan"]
    assert [told.index(each) for each in order] == sorted(told.index(each) for each in order)
    assert "state failed" in text


@pytest.mark.parametrize(
    ("history", "state"),
    [
        ([START, END], "finished"),
        ([START, {**END, "state": "stopped"}], "stopped"),
        ([START], "killed"),
        ([START, END, START], "killed"),
        ([], "unknown"),
    ],
)
def test_the_state_of_a_run_that_nobody_holds(tmp_path: Path, history: list, state: str) -> None:
    assert RunFiles(write_run(tmp_path, history=history)).state == state


def test_only_the_page_of_a_run_at_work_loads_itself_again(tmp_path: Path) -> None:
    folder = write_run(tmp_path, history=[START])
    assert "location.reload" in page_of(folder, is_live=True)
    assert "left about" not in text_of(page_of(folder))
    assert "location.reload" not in page_of(folder)


def test_the_page_is_told_when_it_was_written_and_how_often_to_look(tmp_path: Path) -> None:
    at_work = RunFiles(write_run(tmp_path, history=[START]), is_live=True)
    script = page.reload_script([RunFiles(tmp_path), at_work])
    assert re.search(r'\{"written": \d+\.\d+, "seconds": 30\}', script)
    assert "TIMING" not in script


@pytest.mark.parametrize(
    ("name", "values", "course"),
    [
        ("token_loss", [4.0], "4.0000"),
        ("token_loss", [5.0, 4.0], "5.0000 → 4.0000"),
        ("token_loss", [5.0, 3.0, 4.0], "5.0000 → 4.0000 (best 3.0000)"),
        ("token_loss", [None, 5.0, 6.0, None], "5.0000 → 6.0000"),
        ("token_loss", [None], ""),
        ("mtp_1_acceptance", [0.1, 0.5, 0.4], "0.1000 → 0.4000 (best 0.5000)"),
        ("mtp_1_acceptance", [0.3, 0.2, 0.1], "0.3000 → 0.1000"),
    ],
)
def test_the_course_of_a_loss_or_an_acceptance(tmp_path: Path, name: str, values: list, course: str) -> None:
    records = [record(at, **{name: value}) for at, value in enumerate(values, 1)]
    assert page._course(RunFiles(write_run(tmp_path, records)).metrics, name) == course


@pytest.mark.parametrize(("slowest", "count", "warned"), [(11.0, 20, True), (10.0, 20, False), (11.0, 19, False)])
def test_an_iteration_of_more_than_five_times_the_median_is_named(
    tmp_path: Path, slowest: float, count: int, warned: bool
) -> None:
    """The other iterations take 2 s; of fewer than 20 the first one, which compiles, counts for much."""
    records = [record(at, seconds=slowest if at == 7 else 2.0) for at in range(1, count + 1)]
    warnings = page._warnings(RunFiles(write_run(tmp_path, records)))
    assert warnings == (["Iteration 7 took 11 s, the median one 2 s."] if warned else [])


def test_records_without_a_loss_are_counted(tmp_path: Path) -> None:
    run = RunFiles(write_run(tmp_path, [record(1), record(2, token_loss=None), record(3, token_loss=None)]))
    assert page._warnings(run) == ["2 records have no loss: nothing was supervised, or it was not finite."]
    assert page._warnings(RunFiles(write_run(tmp_path, []))) == []


def test_starts_ends_and_stages_have_a_line_each(tmp_path: Path) -> None:
    day = [f"2026-01-0{number}T00:00:00+00:00" for number in range(1, 5)]
    history = [
        {**START, "time": day[0], "notes": ["One", "Two"]},
        {**END, "time": day[1], "state": "stopped", "iteration": 2},
        {**START, "time": day[2], "iteration": 2, "machine": {}},
        {**END, "time": day[3]},
    ]
    assert page._happenings(RunFiles(write_run(tmp_path, history=history))) == [
        ("2026-01-01 00:00:00", "Started on 1 process on the CPU"),
        ("", "Note: One"),
        ("", "Note: Two"),
        ("2026-01-02 00:00:00", "Stopped by a signal or a time limit after iteration 2."),
        ("2026-01-03 00:00:00", "Resumed after iteration 2"),
        ("2026-01-04 00:00:00", "Finished after iteration 4."),
        ("iteration 1", "The loss averages over tokens."),
        ("iteration 3", "The loss averages over samples."),
    ]


@pytest.mark.parametrize(
    ("iteration", "saved"), [(0, "nothing was saved"), (4, "the newest checkpoint is of iteration 4")]
)
def test_a_failure_says_what_was_saved(iteration: int, saved: str) -> None:
    assert page._describe_end({"state": "failed", "message": "lost"}, iteration) == f"Failed; {saved}: lost"


def test_a_run_at_work_was_not_killed(tmp_path: Path) -> None:
    folder = write_run(tmp_path, history=[START])
    killed = ("", "No end was recorded: it was killed, or its machine stopped.")
    assert killed not in page._happenings(RunFiles(folder, is_live=True))
    assert killed in page._happenings(RunFiles(folder))


def test_the_title_has_the_config_and_the_folder(tmp_path: Path) -> None:
    assert "<title>Training tiny in run</title>" in page_of(write_run(tmp_path / "run"))
    assert "<title>Training in run</title>" in page_of(write_run(tmp_path / "run", history=[]))


def test_the_data_is_linked_where_its_report_is_of_the_same_data(tmp_path: Path) -> None:
    splits = tmp_path / "my data/runs/abc/splits"
    splits.mkdir(parents=True)
    (tmp_path / "my data/splits").symlink_to("runs/abc/splits")
    (tmp_path / "my data/report.html").write_text("")
    start = {**START, "data": {"reference": "SFTDataArtifact-sft:v1", "splits": str(splits), "packs": {"train": 7}}}
    folder = write_run(tmp_path / "run", history=[start, END])
    assert 'href="../my%20data/report.html"' in page_of(folder)
    (tmp_path / "my data/splits").unlink()
    (tmp_path / "my data/splits").symlink_to("runs")  # another run has taken its place
    assert "href=" not in page_of(folder)


def test_a_run_without_records_or_history_has_a_page(tmp_path: Path) -> None:
    text = text_of(page_of(write_run(tmp_path, [], validation=[], history=[], config="")))
    assert "No iteration was logged" in text


def test_names_and_messages_cannot_break_the_page(tmp_path: Path) -> None:
    start = {**START, "name": HOSTILE, "notes": [HOSTILE], "origins": {"rng.seed": HOSTILE}}
    html = page_of(write_run(tmp_path / "<img src=x>", history=[start, {**END, "state": "failed", "message": HOSTILE}]))
    assert "<img" not in html
    assert "\x1b" not in html
    assert "\u202e" not in html


@pytest.mark.slow
def test_a_reader_of_a_long_run_sees_it_in_every_window(browser: Browser, tmp_path: Path) -> None:
    """20,000 iterations with a spike, hostile names, both widths and both schemes."""
    records = [
        record(at, token_loss=25.0 if at == 777 else 2.0 + at % 7, loss_stage="token") for at in range(1, 20_001)
    ]
    start = {**START, "name": HOSTILE, "train_iters": 20_000, "origins": {"optimizer.lr": HOSTILE}}
    folder = write_run(tmp_path / "run", records, history=[start], config=f"optimizer:\n  lr: {'W' * 300}\n")
    report = write_report(RunFiles(folder, is_live=True))
    assert report.stat().st_size < 1_000_000
    for width in (390, 1280):
        for dark in (False, True):
            browser.open(report, width, dark=dark)
            assert browser.overflow() == []
            assert browser.run("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
            browser.hover(".u-over")
            legend = browser.run("document.querySelector('.chart-legend').innerText")
            assert re.search(r"iteration (9,9|10,0)\d\d", legend)
            assert re.search(r"average per token\s*[\d.]+", legend)
            browser.run("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
            assert browser.overflow() == []
            assert browser.errors == []
    assert "25" in browser.run("document.querySelector('figure.chart table').innerText")


@pytest.mark.slow
def test_a_page_loads_itself_again_with_what_is_new(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "RELOAD_SECONDS", 1)
    folder = write_run(tmp_path, history=[START])
    browser.open(write_report(RunFiles(folder, is_live=True)), 1280)
    browser.run("document.querySelector('details').open = true")
    write_report(RunFiles(write_run(tmp_path)))  # it has finished
    browser.wait_for("document.querySelector('table.facts').innerText.includes('finished')")
    assert browser.run("document.getElementById('reload')") is None
