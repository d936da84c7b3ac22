"""The page of `data inspect --html`: what it shows, that content stays content, and that a browser can use it."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from nemotron.cli.app import run
from nemotron.data_prep.inspection.page import write_page

HOSTILE = '</pre><script>alert("x")</script>\x1b[31m &amp; \u202edrow'


class Page(HTMLParser):
    """Collects the text of elements, and the tags there are."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.trains, self.context, self.titles = "", "", list[str]()
        self._open = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "pre":
            self._open = "trains" if ("class", "trains") in attrs else "context"

    def handle_endtag(self, tag: str) -> None:
        if tag == "pre":
            self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open:
            setattr(self, self._open, getattr(self, self._open) + data)


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    said = [("2+2?", "4"), (HOSTILE, "No."), ("3+3?", HOSTILE)]
    lines = [
        json.dumps({"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]}) for q, a in said
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join([*lines, "{broken"]) + "\n")
    return path


def test_rows_are_shown_and_what_they_say_is_text(rows: Path) -> None:
    assert run(["super3", "data", "inspect", str(rows), "-c", "tiny", "--html", "page.html"]) == 0
    page = Page(Path("page.html"))
    assert page.tags.count("article") == 4
    assert page.tags.count("script") == 1
    assert "4<|im_end|>" in page.trains
    assert '<script>alert("x")</script>\\u001b[31m &amp; \\u202e' in page.trains
    assert '<script>alert("x")</script>' in page.context
    assert "\x1b" not in Path("page.html").read_text()


def test_tokens_are_elements_that_join_to_the_text(rows: Path) -> None:
    inspect = ["super3", "data", "inspect", str(rows), "-c", "tiny", "--line", "1"]
    assert run([*inspect, "--html", "with.html", "--tokens"]) == 0
    assert run([*inspect, "--html", "without.html"]) == 0
    tokens, plain = Page(Path("with.html")), Page(Path("without.html"))
    assert (tokens.trains, tokens.context) == (plain.trains, plain.context)
    assert "b" in tokens.tags
    assert "b" not in plain.tags


def test_packs_are_shown(rows: Path) -> None:
    assert run(["super3", "data", "prep", "sft", str(rows), "-c", "tiny", "output_dir=out"]) == 0
    assert run(["super3", "data", "inspect", "out", "--html", "page.html"]) == 0
    page = Path("page.html").read_text()
    assert "rows rows.jsonl:1, at " in page
    assert "4<|im_end|>" in Page(Path("page.html")).trains


def chunk(text: str, tokens: int, trained: int) -> dict[str, object]:
    return {"text": text, "supervised": trained > 0, "tokens": tokens, "supervised_tokens": trained}


def test_what_became_of_a_row_stands_above_it(tmp_path: Path) -> None:
    asked, answered = chunk("Hi", 5, 0), chunk("Yes", 1200, 1100)
    note = {"name": "mood", "kind": "unused_message_field"}
    kept = {
        "line": 3, "dataset": "chat", "outcome": "kept", "reason": None, "detail": None, "mode": "budget",
        "mode_reason": "2 thoughts are cut", "notes": [note], "sequences": [[asked, answered], [asked]],
    }  # fmt: skip
    dropped = {
        **kept, "dataset": None, "outcome": "dropped", "reason": "bad_json", "detail": "no <b>", "mode": None,
        "notes": [], "sequences": [],
    }  # fmt: skip
    plain = {**kept, "line": 5, "mode": "on", "notes": [], "sequences": [[asked]]}
    path = tmp_path / "page.html"
    assert write_page(path, "title", [kept, dropped, plain]) == 3
    first, second, third = path.read_text().split("<article")[1:]
    assert first.startswith(' tabindex="-1" data-dataset="chat" data-outcome="kept">')
    assert re.findall("<h[23]>(.*?)</h", first) == [
        "chat line 3", "sequence 1 of 2, 1,205 tokens, 1,100 train", "sequence 2 of 2, 5 tokens, 0 train",
    ]  # fmt: skip
    notes = re.findall('<p class="note">(.*?)</p>', first)
    assert (notes[0], notes[1].partition(":")[0], len(notes)) == ("2 thoughts are cut", "mood", 2)
    assert second.startswith(' tabindex="-1" data-outcome="bad_json">')
    assert "<h2>line 3</h2>" in second
    assert re.findall('<p class="note">(.*?)</p>', second)[1:] == ["no &lt;b&gt;"]
    assert re.findall("<h3>(.*?)</h", third) == ["5 tokens, 0 train"]
    assert "note" not in third.partition("<script>")[0]


def test_what_is_in_a_pack_stands_above_it(tmp_path: Path) -> None:
    one = {
        "start": 0, "tokens": 5, "padding": 0, "dataset": "chat", "file": "/x/chat.jsonl", "line": 7,
        "chunks": [chunk("Hi", 5, 0)],
    }  # fmt: skip
    pack = {"split": "train", "shard": "shard_000000.parquet", "pack": 2, "tokens": 1019, "sequences": [one]}
    other = {**one, "start": 1005, "padding": 3, "dataset": None}
    path = tmp_path / "page.html"
    write_page(path, "title", [pack, {**pack, "split": None, "sequences": [one, other]}])
    first, second = path.read_text().split("<article")[1:]
    assert first.startswith(' tabindex="-1" data-dataset="chat">')
    assert re.findall("<h[23]>(.*?)</h", first) == [
        "train shard_000000.parquet pack 2: 1,019 tokens", "chat chat.jsonl:7, at 0: 5 tokens, 0 train",
    ]  # fmt: skip
    assert second.startswith(' tabindex="-1">')
    assert re.findall("<h[23]>(.*?)</h", second)[::2] == [
        "shard_000000.parquet pack 2: 1,019 tokens", "a sequence, at 1,005: 5 tokens, 0 train, 3 padding",
    ]  # fmt: skip


@pytest.mark.parametrize("target", [".", "nowhere/page.html"])
def test_a_page_that_cannot_be_written_is_refused_before_the_work(
    target: str, rows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["super3", "data", "inspect", str(rows), "-c", "tiny", "--html", target]) == 1
    assert "--html" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
@pytest.mark.parametrize("wanted", ["", "?search=broken"])
def test_a_browser_runs_its_script(rows: Path, wanted: str) -> None:
    assert run(["super3", "data", "inspect", str(rows), "-c", "tiny", "--html", "page.html"]) == 0
    page = rows.with_name("page.html")
    # Typing is what a test of a page would do; the same event, sent by a script at its end, needs no driver.
    typed = "form.elements.search.value = 'bad_json'; form.dispatchEvent(new Event('input'));" if wanted else ""
    page.write_text(page.read_text().replace("</script>", f"{typed}document.title += ' ran';</script>"))
    browser = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000"]
    dom = subprocess.run([*browser, "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=120).stdout
    assert re.search(r"<title>.* ran</title>", dom), "the script ended with an error"
    assert len(re.findall(r"<article[^>]* hidden", dom)) == (3 if wanted else 0)


def test_a_secret_in_several_tokens_is_on_no_page_and_still_counts(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    said = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "Use hf_PLANTEDabcdefghijkl01 now."}]
    Path("rows.jsonl").write_text(json.dumps({"messages": said}))
    shown = ["super3", "data", "inspect", "rows.jsonl", "-c", "tiny", "--tokens"]
    assert (run([*shown, "--html", "page.html"]), run([*shown, "--json"]), run(shown)) == (0, 0, 0)
    printed = capsys.readouterr().out
    assert Page(Path("page.html")).trains == "\nUse *** now.<|im_end|>\n"
    assert "Use" in printed
    chunk = json.loads(printed.splitlines()[0])["sequences"][0][-1]
    assert len(chunk["pieces"]) == chunk["tokens"] > 15
    hidden = [text for token, text in chunk["pieces"] if token == "***"]
    assert len(hidden) > 8
    assert "".join(hidden).strip() == "***"
    for output in (printed, Path("page.html").read_text()):
        assert not any(part in output for part in ("hf_", "PLANT", "abcde"))
