"""Render a sequence as text: a block per chunk, coloured where it trains."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from nemotron.printable import printable


def render_chunks(chunks: Sequence[Mapping[str, Any]], position: int = 0) -> Iterator[str]:
    """Yield a `<pre>` per chunk.

    Its attributes `data-start` and `data-trained` are for page.js of inspection, which describes tokens.

    Args:
        chunks: {text, supervised, tokens, supervised_tokens}, with role and pieces if they are known; or {gap}.
        position: The position of the first token in its pack.
    """
    for chunk in chunks:
        if "gap" in chunk:
            yield f'<p class="gap">{chunk["gap"]:,} more tokens</p>'
            continue
        trains = ' class="trains"' if chunk["supervised"] else ""
        role = f' data-role="{as_html(chunk["role"])}"' if chunk.get("role") else ""
        place, text = "", as_html(chunk["text"])
        if "pieces" in chunk:
            place = f' data-start="{position}" data-trained="{chunk["supervised_tokens"]}"'
            text = "".join(f'<b data-id="{token}">{as_html(piece)}</b>' for token, piece in chunk["pieces"])
        yield f"<pre{trains}{role}{place}>\n{text}</pre>"  # a browser drops a newline right after the tag
        position += chunk["tokens"] or 0


def as_html(text: str) -> str:
    """Escape text from data, so that HTML only shows it."""
    return escape(printable(text))
