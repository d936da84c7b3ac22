"""Print rows and packs: what trains is green and begins with a plus sign."""

from collections import Counter
from typing import Any

from nemotron.cli import console


def show_row(row: dict[str, Any]) -> None:
    """Print what happens to one row."""
    name = f"{row['dataset']} line {row['line']}" if "dataset" in row else f"line {row['line']}"
    if row["outcome"] == "dropped":
        from nemotron.data_prep.drop_reasons import describe

        console.heading(f"{name}: dropped, {describe(row['reason'])} ({row['reason']})")
        console.out(f"  {row['detail']}")
        return
    for number, sequence in enumerate(row["sequences"], start=1):
        which = f", sequence {number} of {len(row['sequences'])}" if len(row["sequences"]) > 1 else ""
        console.heading(f"{name}{which}{_counts(sequence)}")
        for note in _notes(row) if number == 1 else []:
            console.out(f"! {note}", fg="yellow")
        for chunk in sequence:
            _show_chunk(chunk)


def _notes(row: dict[str, Any]) -> list[str]:
    from nemotron.data_prep.notes import describe_kind

    token = row["special_token"]
    noticed = [f"{note['name'] or note['kind']}: {describe_kind(note['kind'])}" for note in row["notes"]]
    mode = row["mode"] if row["mode"] not in (None, "on", "no_reasoning") else None
    return [
        *([f"mode {mode}: {row['mode_reason']}"] if mode else []),
        *([f"the text contains {token}"] if token else []),
        *([row["detail"]] if row["detail"] else []),
        *noticed,
    ]


def show_pack(pack: dict[str, Any]) -> None:
    """Print the sequences of one pack, each with the row it came from."""
    from nemotron.data_prep.inspection.packs import describe_origin

    where = " ".join(part for part in (pack["split"], pack["shard"]) if part)
    console.heading(f"{where} pack {pack['pack']}: {pack['tokens']:,} tokens")
    for sequence in pack["sequences"]:
        padding = f", {sequence['padding']:,} padding" if sequence["padding"] else ""
        first, last = sequence["start"], sequence["start"] + sequence["tokens"] - 1
        place = f"{describe_origin(sequence)}, at {first:,} to {last:,}"
        console.heading(f"{place}{_counts(sequence['chunks'])}{padding}")
        for chunk in sequence["chunks"]:
            # The newline after an answer's end does not train, but it ends a line that is already shown.
            if text := chunk["text"] if chunk["supervised"] else chunk["text"].removeprefix("\n"):
                _show_chunk({**chunk, "text": text})


def _counts(sequence: list[dict[str, Any]]) -> str:
    tokens = sum(chunk["tokens"] for chunk in sequence)
    trained = sum(chunk["supervised_tokens"] for chunk in sequence)
    return f": {tokens:,} tokens, {trained:,} train"


def _show_chunk(chunk: dict[str, Any]) -> None:
    """Print the chunk's lines after a margin: `+`, and green, where they train."""
    if "pieces" in chunk:
        _show_pieces(chunk)
        return
    trains = chunk["supervised"]
    for line in chunk["text"].removesuffix("\n").split("\n"):
        console.content(line, "+ " if trains else "  ", **({"fg": "green"} if trains else {"dim": True}))


def _show_pieces(chunk: dict[str, Any]) -> None:
    """Print each token with its id, with the line breaks of the text."""
    line: list[str] = []
    lines = [line]
    for token, text in chunk["pieces"]:
        line.append(f"{text}\u2039{token}\u203a".replace("\n", "\\n"))
        if "\n" in text:
            lines.append(line := [])
    style: dict[str, Any] = {"fg": "green"} if chunk["supervised"] else {"dim": True}
    for tokens in filter(None, lines):
        console.content("".join(tokens), "+ " if chunk["supervised"] else "  ", **style)


def summarise(outcomes: Counter[str]) -> None:
    """Print how many rows there were of each outcome."""
    console.heading("1 row" if outcomes.total() == 1 else f"{outcomes.total():,} rows")
    console.table([(name, f"{count:,}") for name, count in outcomes.most_common()], right=[1])
