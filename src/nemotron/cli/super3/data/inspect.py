"""Run `nemotron super3 data inspect`: show which text trains."""

import contextlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nemotron.cli import configs, console, options

if TYPE_CHECKING:
    from nemotron.data_prep.config import DataPrepConfig


Config = Annotated[
    str | None,
    typer.Option(
        "-c", "--config", metavar="NAME|PATH",
        help="The data-prep config. Without it: that of the last data prep in this folder.",
    ),
]  # fmt: skip


def inspect(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="Chat data: a file that data prep reads, here or remote.")
    ],
    overrides: options.Overrides = None,
    config: Config = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per row, for programs.")] = False,
) -> None:
    """Show which text of each conversation trains.

    Every row appears as data prep sees it: its text, what of it trains, or why it is dropped. What depends on other
    rows is left out: duplicates, samples, shares of a blend.

    Lines that train are green and begin with a plus sign. With --json each row is one object: line, outcome ("kept"
    or "dropped"), reason, detail, special_token (a control token in the text), and sequences of chunks with role, text,
    supervised, tokens and supervised_tokens.

    Settings are those of -c, else of the last data prep in this folder. Where there was none, tokens are counted with
    the bundled tokenizer, and nothing is said of length unless pack_size or max_doc_tokens is given.

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
    from nemotron.data_prep.reasoning_modes.settings import control_of
    from nemotron.data_prep.tokenization.tokenizer import load_tokenizer
    from nemotron.data_prep.tokenization.turn_end import with_turn_end

    settings, judges_length = _settings(config, overrides or [])
    check(settings)
    tokenizer = load_tokenizer(settings.tokenizer)
    template = load_template(settings.chat_template, tokenizer)
    tokenizer = with_turn_end(tokenizer, template)
    fields = Fields(settings.messages_field, settings.tools_field, settings.format)
    rules = Rules(
        Admission(fields, settings.used_in_field, settings.used_in_filter, settings.strict_fields),
        settings.special_tokens_in_content,
        limit(settings) if judges_length else None,
        settings.overlong,
        control_of(settings.reasoning, None, file),
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


def _settings(config: str | None, overrides: list[str]) -> "tuple[DataPrepConfig, bool]":
    """Load the config, and decide whether its length limit is meant for this data."""
    if config is not None:
        return configs.load_prep(config, overrides).config, True
    if (last := _last_config(overrides)) is not None:
        console.note(f"With the settings of the last data prep here: {last}")
        return configs.load_prep(str(last), overrides).config, True
    judges_length = any(override.partition("=")[0] in ("pack_size", "max_doc_tokens") for override in overrides)
    own_tokenizer = any(override.startswith("tokenizer.model=") for override in overrides)
    console.note(
        "No data prep has run in this folder: "
        f"{'' if own_tokenizer else 'tokens are counted with the bundled tokenizer'}"
        f"{'' if own_tokenizer or judges_length else ', and '}"
        f"{'' if judges_length else 'nothing is said of length'}. -c NAME or PATH takes the settings of a config."
    )
    return configs.load_prep("tiny", overrides).config, judges_length


def _last_config(overrides: list[str]) -> Path | None:
    """Find the resolved config of the newest data recorded here that still exists."""
    from nemotron.data_prep.output.publish import ARTIFACT
    from nemotron.errors import UserError
    from nemotron.lineage import resolve

    artifacts = configs.load_prep("tiny", overrides).config.run.artifacts
    found = []
    for name in (ARTIFACT, f"{ARTIFACT}-sample"):
        with contextlib.suppress(UserError):
            found.append(Path(resolve(name, artifacts).path).parent / "config.yaml")
    return max((path for path in found if path.is_file()), key=lambda path: path.stat().st_mtime_ns, default=None)


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
        *([f"{token} stands in the text"] if token else []),
        *([row["detail"]] if row["detail"] else []),
        *noticed,
    ]


def _counts(sequence: list[dict[str, Any]]) -> str:
    tokens = sum(chunk["tokens"] for chunk in sequence)
    trained = sum(chunk["supervised_tokens"] for chunk in sequence)
    return f": {tokens:,} tokens, {trained:,} train"


def _show_chunk(chunk: dict[str, Any]) -> None:
    """Print the chunk's lines after a margin: `+`, and green, where they train."""
    trains = chunk["supervised"]
    for line in chunk["text"].removesuffix("\n").split("\n"):
        console.out(f"{'+' if trains else ' '} {line}", **({"fg": "green"} if trains else {"dim": True}))


def _summarise(outcomes: Counter[str], tokenizer: str) -> None:
    console.heading(f"{outcomes.total():,} rows, tokens of {tokenizer}")
    console.table([(name, f"{count:,}") for name, count in outcomes.most_common()], right=[1])
