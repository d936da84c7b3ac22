"""A sequence as text: a block per chunk, with what a page's script describes tokens by."""

from typing import Any

from nemotron.data_prep.report.masked_text import as_html, render_chunks


def chunk(text: str, **more: Any) -> dict[str, Any]:
    return {"text": text, "supervised": False, "tokens": 2, "supervised_tokens": 0, **more}


def test_a_chunk_is_marked_with_its_role_and_where_it_trains() -> None:
    shown = [chunk("Hi", role="user"), chunk("Yo", role="assistant", supervised=True), chunk("no role", role=None)]
    assert list(render_chunks(shown)) == [
        '<pre data-role="user">\nHi</pre>',
        '<pre class="trains" data-role="assistant">\nYo</pre>',
        "<pre>\nno role</pre>",
    ]


def test_tokens_stand_one_by_one_from_where_their_chunk_begins() -> None:
    first = chunk("a<b", pieces=[[17, "a"], [5, "<b"]], supervised_tokens=1)
    untold = chunk("x", tokens=None)
    last = chunk("c", pieces=[["***", "c"]])
    assert list(render_chunks([first, untold, last], position=10)) == [
        '<pre data-start="10" data-trained="1">\n<b data-id="17">a</b><b data-id="5">&lt;b</b></pre>',
        "<pre>\nx</pre>",
        '<pre data-start="12" data-trained="0">\n<b data-id="***">c</b></pre>',
    ]


def test_a_sequence_begins_at_0_and_a_gap_has_no_text() -> None:
    gap, first = {"gap": 1500}, chunk("a", pieces=[[1, "a"]])
    assert list(render_chunks([gap, first])) == [
        '<p class="gap">1,500 more tokens</p>',
        '<pre data-start="0" data-trained="0">\n<b data-id="1">a</b></pre>',
    ]


def test_text_from_data_is_only_shown() -> None:
    assert as_html('<b class="x">\x1b') == "&lt;b class=&quot;x&quot;&gt;\\u001b"
    assert list(render_chunks([chunk("", role='"><b>')])) == ['<pre data-role="&quot;&gt;&lt;b&gt;">\n</pre>']
