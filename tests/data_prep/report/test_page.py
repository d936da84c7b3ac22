"""report.html: what it shows of a run, that content stays content, that it is small, and that a browser can use it."""

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from tests.browser import Browser
from tests.data_prep.small_run import make_config_in, write_rows_in

from nemotron.data_prep.drop_reasons import DropReason, LeftOut
from nemotron.data_prep.notes import NoteKind
from nemotron.data_prep.output.examples import Examples, read_examples
from nemotron.data_prep.output.metadata import DatasetStats, Metadata, ModeStats, NoteStats
from nemotron.data_prep.pipeline import PrepResult, prepare
from nemotron.data_prep.report import mix
from nemotron.data_prep.report.masked_text import render_chunks
from nemotron.data_prep.report.overview import render_overview
from nemotron.data_prep.report.page import render_report
from nemotron.data_prep.report.rows import render_dropped, render_duplicates, render_ignored

HOSTILE = '</pre></style><script>console.error("ran")</script>\x1b[31m &amp; \u202e' + "\x01W" * 200


class Page(HTMLParser):
    """Collects what a reader sees, and checks that every element ends."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.opened: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words = ""
        self.trains = ""
        self._trains = False
        self.feed(html)
        assert self.opened == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.extend(attrs)
        self._trains = tag == "pre" and ("class", "trains") in attrs
        if tag != "meta":
            self.opened.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.opened.pop() == tag
        self._trains = False

    def handle_data(self, data: str) -> None:
        self.words += data
        self.trains += data if self._trains else ""


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory, byte_tokenizer: Path, chat: Callable[..., Any]) -> PrepResult:
    """Two weighted datasets with duplicates, broken and over-long rows and an unused field, padded."""
    folder = tmp_path_factory.mktemp("reported")
    rows = [chat(f"Question {i}?", "word " * (i % 60)) for i in range(200)]
    write_rows_in(folder, "a.jsonl", [*rows, rows[0], {"messages": HOSTILE}, chat("Hi", f"{HOSTILE}")])
    write_rows_in(folder, "b.jsonl", [chat(f"Frage {i}?", "Wort", unknown=1) for i in range(120)])
    blend = {"datasets": [{"path": "a.jsonl", "weight": 1}, {"path": "b.jsonl", "weight": 1}]}
    ratios = {"train_ratio": 0.8, "valid_ratio": 0.1, "test_ratio": 0.1}
    return prepare(make_config_in(folder, byte_tokenizer, blend=blend, pad_to_multiple=8, **ratios))


def page_of(result: PrepResult) -> str:
    return (result.plan.output_dir / "report.html").read_text(encoding="utf-8")


def test_the_report_is_a_complete_page_with_nothing_from_elsewhere(result: PrepResult) -> None:
    page = Page(page_of(result))
    assert "src" not in dict(page.attributes)
    links = [value or "" for name, value in page.attributes if name == "href"]
    targets = {value for name, value in page.attributes if name == "id"}
    assert links
    assert {link.removeprefix("#") for link in links} <= targets


def test_a_percentage_of_supervised_tokens_is_of_the_tokens_without_padding(result: PrepResult) -> None:
    """The same number as in the terminal, for each dataset, each split and the whole."""
    metadata, html = result.metadata, page_of(result)
    assert metadata.padding > 0
    for one in (*metadata.datasets, *metadata.splits):
        counts = f"<td>{one.tokens:,}</td><td>{one.supervised_tokens:,}</td>"
        assert f"{counts}<td>{one.supervised_tokens / one.tokens:.1%}</td>" in html
    assert f"<small>{metadata.supervised_tokens / metadata.tokens:.1%}</small>" in html
    for one in metadata.datasets:
        assert f"<td>{one.share_of_supervised:.1%}</td>" in html


def test_what_was_asked_for_stands_next_to_what_it_is(result: PrepResult) -> None:
    assert page_of(result).count("<td>50.00%</td><td>50.00%</td>") == 2


def test_every_bin_of_a_histogram_has_its_value(result: PrepResult) -> None:
    values = re.findall(r'data-value="([\d,]+) to [\d,]+: (\d+) conversations', page_of(result))
    assert sum(int(count) for _, count in values) >= 120


def test_reasons_have_their_rows_and_noticed_fields_their_count(result: PrepResult) -> None:
    page = Page(page_of(result))
    assert re.search(r"no_messages\s*1 row ", page.words)
    assert "a.jsonl:202" in page.words
    assert "unused_row_field unknown" in page.words
    assert "word word<|im_end|>" in page.trains


def test_every_section_is_linked_to(result: PrepResult) -> None:
    page = page_of(result)
    sections = re.findall(r'<section id="([^"]+)"', page)
    assert {"datasets", "blend", "splits", "dropped", "duplicates", "sequences"} <= set(sections)
    assert re.findall(r'<a href="#([^"]+)"', page.partition("</nav>")[0]) == [
        section for section in sections if section != "look"
    ]


def test_every_row_of_a_table_has_a_cell_for_each_column(result: PrepResult) -> None:
    tables = re.findall("<table.*?</table>", page_of(result), re.DOTALL)
    assert len(tables) > 5
    for table in tables:
        head, *rows = table.split("<tr>")[1:]
        assert rows
        assert {row.count("<td") for row in rows} == {head.count("<th")}


def test_the_most_frequent_conversation_is_shown_with_its_place(result: PrepResult) -> None:
    duplicates = Page(page_of(result)).words.partition("Duplicates")[2]
    assert re.search(r"The most frequent\s*2 times, first at a \S+a\.jsonl:1\s", duplicates)


def test_of_many_reasons_the_first_five_are_told_and_the_rest_counted(result: PrepResult) -> None:
    def remarks(reasons: int) -> str:
        dropped = {str(reason): 100 for reason in list(DropReason)[:reasons]}
        one = replace(result.metadata.datasets[0], rows=1000, dropped=dropped)
        return remarks_on(replace(result.metadata, datasets=[one]))

    assert (remarks(5).count("dropped as"), "more reason" in remarks(5)) == (5, False)
    assert (remarks(7).count("dropped as"), "2 more reasons" in remarks(7)) == (5, True)


def test_as_many_datasets_as_are_shown_stay_in_order_and_of_more_the_largest_are_first(
    result: PrepResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = result.metadata.datasets[0]
    metadata = replace(
        result.metadata, datasets=[replace(one, name=name, tokens=len(name)) for name in ("a", "bbb", "cc")]
    )
    for most, order in ((3, ["a", "bbb", "cc"]), (2, ["bbb", "cc", "a"])):
        monkeypatch.setattr(mix, "MOST_BARS", most)
        assert [dataset.name for dataset in mix.largest_first(metadata)] == order


def test_of_many_datasets_those_far_from_their_share_stand_first(
    result: PrepResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mix, "MOST_BARS", 2)
    shares = {"none": (None, None), "near": (0.5, 0.4), "far": (0.1, 0.6), "all": (None, 1.0)}
    datasets = [
        replace(result.metadata.datasets[0], name=name, asked=asked, got=got) for name, (asked, got) in shares.items()
    ]
    words = Page(mix.render_blend(replace(result.metadata, datasets=datasets))).words
    assert re.findall(r"none|near|far|all(?=-)", words) == ["far", "near", "none", "all"]


def test_what_concerns_most_rows_stands_first(result: PrepResult) -> None:
    def of(title: str, rows: int) -> DatasetStats:
        rare, known = (NoteStats("unused_row_field", name, count, []) for name, count in (("rare", 1), ("known", rows)))
        dropped = {"bad_role": rows, "no_messages": 40 - rows}
        found = {"dropped": dropped, "duplicates": rows, "notes": [rare, known]}
        return replace(result.metadata.datasets[0], name=title, **found)

    metadata = replace(result.metadata, datasets=[of("a", 2), of("b", 30)])
    dropped = Page(render_dropped(metadata, Examples([], []))).words
    assert re.findall("no_messages|bad_role", dropped) == ["no_messages", "bad_role"]  # 48 and 32
    assert re.findall(r"[ab]\d+", dropped.partition("bad_role")[2]) == ["b30", "a2"]
    duplicates = Page(render_duplicates(metadata, Examples([], []))).words
    assert re.findall(r"[ab]\d+", duplicates) == ["b300", "a20"]  # the last column: dropped for it
    assert re.findall("known|rare", Page(render_ignored(metadata)).words) == ["known", "rare"]


def test_what_is_worth_a_look_is_said_once_however_many_datasets(result: PrepResult) -> None:
    [one, other] = result.metadata.datasets
    gone = replace(other, name="gone", kept=0, tokens=0, supervised_tokens=0, got=0.0)
    page = Page(render_report(replace(result.metadata, datasets=[one, *[gone] * 9]), Examples([], [])))
    remarks = page.words.partition("Worth a look")[2].partition("Splits")[0]
    assert "Nothing is left of gone, gone, gone and 6 more datasets." in remarks
    assert remarks.count("asks for. Blend") == 1


def remarks_on(metadata: Metadata) -> str:
    return Page(render_overview(metadata)).words.partition("Worth a look")[2]


def test_nothing_is_worth_a_look_where_little_is_amiss(result: PrepResult) -> None:
    """Each of these is as much as may be, and worth a look with one more."""
    metadata = result.metadata
    whole = replace(
        metadata, overlong=replace(metadata.overlong, lost_supervised_share=0.0),
        datasets=[replace(one, dropped={}, duplicates=0, rows=500, notes=[]) for one in metadata.datasets],
        splits=[replace(split, fill=0.95) for split in metadata.splits],
    )  # fmt: skip
    [first, *others], [split, *_] = whole.datasets, whole.splits
    assert remarks_on(whole) == "Nothing out of the ordinary was found."

    def with_first(**changed: Any) -> str:
        return remarks_on(replace(whole, datasets=[replace(first, **changed), *others]))

    def with_split(**changed: Any) -> str:
        return remarks_on(replace(whole, splits=[replace(split, **changed)]))

    rows = sum(one.rows for one in whole.datasets)
    assert with_first(dropped={"bad_role": rows // 100}).startswith("Nothing out of")
    assert "bad_role" in with_first(dropped={"bad_role": rows // 100 + 1})
    assert with_first(dropped={"not_sampled": rows}).startswith("Nothing out of")  # the settings ask for that
    assert with_first(tokens=1000, supervised_tokens=20).startswith("Nothing out of")
    assert "tokens of a are supervised" in with_first(tokens=1000, supervised_tokens=19)
    assert with_split(fill=0.5, packs=19).startswith("Nothing out of")  # the last pack is mostly half empty
    assert "only 50.0% full" in with_split(fill=0.5, packs=20)


def test_a_chunk_says_where_in_its_pack_it_begins() -> None:
    chunks = [
        {"text": text, "supervised": False, "tokens": 2, "supervised_tokens": 0, "pieces": [[1, text], [2, ""]]}
        for text in ("Hi", "Hello")
    ]
    first, second = render_chunks(chunks, position=7)
    assert (re.findall('data-start="(\\d+)"', first), re.findall('data-start="(\\d+)"', second)) == (["7"], ["9"])


def hostile(result: PrepResult, datasets: int = 300) -> tuple[Metadata, Examples]:
    """As many datasets as nobody has, of names and rows that try to break the page."""
    metadata, examples = result.metadata, read_examples(result.plan.run_dir)
    reasons = {str(reason): 5 for reason in [*DropReason, *LeftOut]}
    place = {"file": HOSTILE, "line": 1}
    notes = [NoteStats(str(kind), f"{HOSTILE}{n}", 5, [place]) for kind in NoteKind for n in range(20)]
    modes = [ModeStats("off", 1, 1, 1, 0.1, 0.2)] * 5
    one = replace(metadata.datasets[0], notes=notes, modes=modes, dropped=reasons)
    dropped = [
        {"reason": reason, "dataset": HOSTILE, **place, "detail": HOSTILE, "text": HOSTILE}
        for reason in reasons
        for _ in range(3)
    ]
    chunks = [{"role": "user", "text": HOSTILE, "supervised": True, "tokens": 1, "supervised_tokens": 1}] * 9
    sequences = [{**shown, "dataset": HOSTILE, "file": HOSTILE, "chunks": chunks} for shown in examples.sequences]
    several = [replace(one, name=f"{HOSTILE}{number}") for number in range(datasets)]
    changed = replace(
        metadata, datasets=several, config_name=HOSTILE, blend=HOSTILE, chat_template={"name": HOSTILE},
        tokenizer={"model": HOSTILE},
    )  # fmt: skip
    return changed, Examples(sequences, dropped)


@pytest.fixture(scope="module")
def hostile_page(result: PrepResult) -> str:
    return render_report(*hostile(result))


def test_content_is_shown_and_does_nothing(result: PrepResult, hostile_page: str) -> None:
    for html in (page_of(result), hostile_page):
        page = Page(html)
        assert "script" not in page.tags
        assert page.tags.count("style") == 1
        assert not re.search("[\x00-\x08\x1b\u202e]", html)
        assert "</pre></style><script>console.error(" in page.words
        assert "\\u001b[31m" in page.words


def test_a_page_is_small_whatever_is_in_the_data(hostile_page: str) -> None:
    assert len(hostile_page.encode()) < 1_000_000
    assert "270 more datasets" in hostile_page


@pytest.mark.slow
def test_a_browser_shows_it_on_a_phone_and_on_a_desk(
    browser: Browser, result: PrepResult, hostile_page: str, tmp_path: Path
) -> None:
    worst = tmp_path / "hostile.html"
    worst.write_text(hostile_page, encoding="utf-8")
    for page in (result.plan.output_dir / "report.html", worst):
        for width, dark in ((390, False), (390, True), (1280, False), (1280, True)):
            browser.open(page, width, dark=dark)
            browser.run("for (const each of document.querySelectorAll('details')) each.open = true")
            assert browser.overflow() == []
            assert browser.run("document.scrollingElement.scrollWidth <= document.documentElement.clientWidth")
            background = browser.run("getComputedStyle(document.body).backgroundColor")
            assert (background == "rgb(255, 255, 255)") == (not dark)
            assert browser.errors == []


@pytest.mark.slow
def test_examples_unfold_and_bars_say_their_value(browser: Browser, result: PrepResult) -> None:
    browser.open(result.plan.output_dir / "report.html", 1280)
    first = "document.querySelector('#dropped details')"
    height = browser.run(f"{first}.offsetHeight")
    browser.run(f"{first}.querySelector('summary').click()")
    assert browser.run(f"{first}.offsetHeight") > height
    browser.hover("#lengths .bar:nth-child(3)")
    shown = "getComputedStyle(document.querySelector('#lengths .bar:nth-child(3)'), '::after').content"
    assert "conversations" in browser.run(shown)
    assert browser.errors == []
