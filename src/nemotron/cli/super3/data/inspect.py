"""`nemotron super3 data inspect`: which text of each conversation trains."""

from collections import Counter
from typing import Annotated, Any

import typer

from nemotron.cli import configs, console, options


def inspect(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="Chat data: a file that data prep reads, here or remote.")
    ],
    overrides: options.Overrides = None,
    config: options.Config = "tiny",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per row, for programs.")] = False,
) -> None:
    """Show which text of each conversation trains.

    Every row appears as data prep sees it: its text, what of it trains, or why it is dropped. What depends on other
    rows is left out: duplicates, samples, shares of a blend.

    Lines that train are green and begin with a plus sign. With --json each row is one object: line, outcome ("kept"
    or "dropped"), reason, detail, special_token (a control token in the text), and sequences of chunks with role, text,
    supervised, tokens and supervised_tokens. Settings are the config's: tiny has a tokenizer that needs no network,
    -c default counts with the model's.

    \b
    Examples:
      nemotron super3 data inspect chat.jsonl
      nemotron super3 data inspect chat.jsonl --json | jq 'select(.outcome == "dropped")'
      nemotron super3 data inspect chat.jsonl -c default pack_size=8192 overlong=drop
    """
    import json

    from nemotron.data_prep.chat.template import load_template
    from nemotron.data_prep.config import check
    from nemotron.data_prep.dialects.admission import Admission
    from nemotron.data_prep.dialects.forms import Fields
    from nemotron.data_prep.inspect import Rules, inspect_file
    from nemotron.data_prep.packing.lengths import limit
    from nemotron.data_prep.tokenization.tokenizer import load_tokenizer
    from nemotron.data_prep.tokenization.turn_end import with_turn_end

    settings = configs.load_prep(config, overrides or []).config
    check(settings)
    tokenizer = load_tokenizer(settings.tokenizer)
    template = load_template(settings.chat_template, tokenizer)
    tokenizer = with_turn_end(tokenizer, template)
    fields = Fields(settings.messages_field, settings.tools_field, settings.format)
    rules = Rules(
        Admission(fields, settings.used_in_field, settings.used_in_filter, settings.strict_fields),
        settings.special_tokens_in_content,
        limit(settings),
        settings.overlong,
    )
    rows = inspect_file(file, template, tokenizer, rules)
    outcomes: Counter[str] = Counter()
    for row in rows:
        outcomes[row["reason"] or row["outcome"]] += 1
        if as_json:
            console.out(json.dumps(row, ensure_ascii=False))
        else:
            _show(row)
    if not as_json:
        _summarise(outcomes, tokenizer.name)


def _show(row: dict[str, Any]) -> None:
    if row["outcome"] == "dropped":
        from nemotron.data_prep.drop_reasons import describe

        console.heading(f"line {row['line']}: dropped, {describe(row['reason'])} ({row['reason']})")
        console.out(f"  {row['detail']}")
        return
    for number, sequence in enumerate(row["sequences"], start=1):
        which = f", sequence {number} of {len(row['sequences'])}" if len(row["sequences"]) > 1 else ""
        console.heading(f"line {row['line']}{which}{_counts(sequence)}")
        for note in _notes(row) if number == 1 else []:
            console.out(typer.style(f"! {note}", fg="yellow"))
        for chunk in sequence:
            _show_chunk(chunk)


def _notes(row: dict[str, Any]) -> list[str]:
    from nemotron.data_prep.notes import describe_kind

    token = row["special_token"]
    noticed = [f"{note['name'] or note['kind']}: {describe_kind(note['kind'])}" for note in row["notes"]]
    return [*([f"{token} stands in the text"] if token else []), *([row["detail"]] if row["detail"] else []), *noticed]


def _counts(sequence: list[dict[str, Any]]) -> str:
    tokens = sum(chunk["tokens"] for chunk in sequence)
    trained = sum(chunk["supervised_tokens"] for chunk in sequence)
    return f": {tokens:,} tokens, {trained:,} train"


def _show_chunk(chunk: dict[str, Any]) -> None:
    """The chunk's lines behind a margin: `+`, and green, where they train."""
    for line in chunk["text"].removesuffix("\n").split("\n"):
        console.out(typer.style(f"+ {line}", fg="green") if chunk["supervised"] else typer.style(f"  {line}", dim=True))


def _summarise(outcomes: Counter[str], tokenizer: str) -> None:
    console.heading(f"{outcomes.total():,} rows, tokens of {tokenizer}")
    console.table([(name, f"{count:,}") for name, count in outcomes.most_common()], right=[1])
