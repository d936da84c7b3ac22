"""Run `nemotron super3 data inspect`: show which text trains."""

import contextlib
import json
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nemotron.cli import configs, console, options
from nemotron.cli.super3.data.inspect_show import show_pack, show_row, summarise

if TYPE_CHECKING:
    from nemotron.data_prep.config import DataPrepConfig
    from nemotron.data_prep.inspection.packs import Packed
    from nemotron.data_prep.inspection.wanted import Wanted
    from nemotron.data_prep.sources.blend import Dataset


Config = Annotated[
    str | None,
    typer.Option(
        "-c", "--config", metavar="NAME|PATH",
        help="The data-prep config; default: that of the last data prep in this folder.",
    ),
]  # fmt: skip


def inspect(
    path: Annotated[
        str,
        typer.Argument(
            metavar="PATH",
            callback=options.expand_paths,
            help="Chat data, a blend, prepared data, one shard, an artifact, or - for lines from stdin.",
        ),
    ],
    overrides: options.Overrides = None,
    config: Config = None,
    limit: Annotated[int | None, typer.Option("-n", "--limit", help="Show at most this many rows or packs.")] = None,
    line: Annotated[int | None, typer.Option("--line", help="Show only the row of this line, from 1.")] = None,
    row_id: Annotated[
        str | None, typer.Option("--id", help="Show only rows with this id, uuid or conversation_id.")
    ] = None,
    only: Annotated[
        str | None, typer.Option("--only", metavar="kept|dropped|REASON", help="Show only rows with this outcome.")
    ] = None,
    grep: Annotated[
        str | None, typer.Option("--grep", metavar="TEXT", help="Show only rows and packs that contain this text.")
    ] = None,
    sample: Annotated[
        int | None, typer.Option("--sample", help="Show this many rows or packs, chosen at random.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of --sample.")] = 42,
    tokens: Annotated[bool, typer.Option("--tokens", help="Show where tokens end, and their ids.")] = False,
    page: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", callback=options.expand_paths, help="Write an HTML page to browse."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per row or pack, for programs.")
    ] = False,
    no_pager: Annotated[bool, typer.Option("--no-pager", help="Do not show long output through $PAGER.")] = False,
) -> None:
    """Show which text of each conversation trains, before or after packing.

    Every row of chat data is shown as data prep sees it: its text, what trains, or why it is dropped. Outcomes that
    depend on other rows are left out: duplicates, samples, blend shares. Packs of prepared data are shown as a trainer
    reads them, each sequence with the row that it came from.

    Lines that train are green and begin with a plus sign. With --json each row is one object: line, outcome ("kept"
    or "dropped"), reason, detail, special_token (a control token in the text), and sequences of chunks with role, text,
    supervised, tokens and supervised_tokens; each pack is split, shard, pack and sequences, these with dataset, file,
    line and chunks.

    Settings are those of -c, else of the data, else of the last data prep in this folder. Without any, tokens are
    counted with the bundled tokenizer, and lengths are only checked if pack_size or max_doc_tokens is given.

    \b
    Examples:
      nemotron super3 data inspect chat.jsonl -n 5
      nemotron super3 data inspect chat.jsonl --only dropped --json
      nemotron super3 data inspect chat.jsonl -c default pack_size=8192 overlong=drop
      nemotron super3 data inspect output/tiny/data --sample 3 --tokens
      nemotron super3 data inspect chat.jsonl -n 200 --tokens --html chat.html
    """
    from nemotron.data_prep.inspection.packs import find_packed
    from nemotron.data_prep.inspection.wanted import Wanted

    wanted = Wanted(line, row_id, only, grep, limit, sample, seed)
    local = _locate(path, overrides or [])
    with _explains_writer(local):
        packed = find_packed(local) if local is not None else None
        if packed is not None:
            shown = _packs(packed, wanted, config, overrides or [], tokens)
        else:
            shown = _rows(path, wanted, config, overrides or [], tokens)
        if page is not None:
            _write_page(page, path, wanted.choose(shown))
            return
        found = False
        with console.use_pager(wanted=not (no_pager or as_json)):
            outcomes: Counter[str] = Counter()
            for row in wanted.choose(shown):
                found = True
                outcomes[row["reason"] or row["outcome"] if packed is None else "pack"] += 1
                _show(row, is_pack=packed is not None, as_json=as_json)
            if outcomes and packed is None and not as_json:
                summarise(outcomes)
        if not found:
            console.note(f"Nothing in {path} matches the options.")


@contextlib.contextmanager
def _explains_writer(local: Path | None) -> Iterator[None]:
    """Say that data prep is writing the data, where that may be why it cannot be read."""
    from nemotron.errors import UserError
    from nemotron.files.folder_lock import find_holder

    try:
        yield
    except (OSError, UserError) as error:
        above = () if local is None else (local, *local.resolve().parents)
        for folder in (each for each in above if (each / "runs").is_dir()):
            if (holder := find_holder(folder)) is not None:
                message, hint = (error.message, error.hint) if isinstance(error, UserError) else (str(error), None)
                wait = f"{folder} is being written by {holder}; if that is why, wait until it ends."
                raise UserError(message, f"{hint} {wait}" if hint else wait) from error
        raise


def _show(row: dict[str, Any], *, is_pack: bool, as_json: bool) -> None:
    if as_json:
        console.raw(json.dumps(row, ensure_ascii=False))
    elif is_pack:
        show_pack(row)
    else:
        show_row(row)


def _write_page(page: Path, path: str, shown: Iterator[dict[str, Any]]) -> None:
    from nemotron.data_prep.inspection.page import write_page
    from nemotron.errors import UserError

    if page.is_dir() or not page.absolute().parent.is_dir():
        problem = "is a folder" if page.is_dir() else "is in a folder that does not exist"
        raise UserError(f"--html is {page}, which {problem}.", "Give the file to write.")
    count = write_page(page, f"What trains of {path}", shown)
    console.note(f"{page} shows {count:,} of {path}.")


def _locate(path: str, overrides: list[str]) -> Path | None:
    """Find the path of the data, or an artifact's folder; None if it is not local."""
    from nemotron.errors import UserError
    from nemotron.lineage import resolve

    if path == "-" or "://" in path:
        return None
    if not (found := Path(path)).exists() and "/" not in path:
        with contextlib.suppress(UserError):
            return Path(resolve(path, configs.load_prep("tiny", overrides).config.run.artifacts).path)
    return found


def _packs(
    packed: "Packed", wanted: "Wanted", config: str | None, overrides: list[str], tokens: bool
) -> Iterator[dict[str, Any]]:
    from nemotron.data_prep.inspection.packs import inspect_packs
    from nemotron.data_prep.tokenizer.load import load_tokenizer
    from nemotron.errors import UserError

    if wanted.only is not None or wanted.id is not None:
        name = "--id" if wanted.only is None else "--only"
        raise UserError(f"{name} works for rows, not for packs.", "Use --line or --grep.")
    if config is None and packed.run is not None:
        config = str(packed.run / "config.yaml")
    settings, _ = _settings(config, overrides)
    return inspect_packs(packed, load_tokenizer(settings.tokenizer), wanted, pieces=tokens)


def _rows(
    path: str, wanted: "Wanted", config: str | None, overrides: list[str], tokens: bool
) -> Iterator[dict[str, Any]]:
    from nemotron.data_prep.chat.template import load_template
    from nemotron.data_prep.config import check
    from nemotron.data_prep.inspection.rows import Rules, inspect_dataset, inspect_file
    from nemotron.data_prep.packing.lengths import find_limit
    from nemotron.data_prep.plan import make_admission
    from nemotron.data_prep.reasoning_modes.settings import merge_control
    from nemotron.data_prep.sources.blend import Dataset
    from nemotron.data_prep.tokenizer.load import load_tokenizer
    from nemotron.data_prep.tokenizer.turn_end import with_turn_end

    settings, judges_length = _settings(config, overrides)
    check(settings)
    tokenizer = load_tokenizer(settings.tokenizer)
    template = load_template(settings.chat_template, tokenizer)
    tokenizer = with_turn_end(tokenizer, template)
    console.note(f"Tokens are counted with {tokenizer.name}.")

    def rules(dataset: Dataset) -> Rules:
        return Rules(
            make_admission(dataset, settings),
            settings.special_tokens_in_content,
            find_limit(settings) if judges_length else None,
            settings.overlong,
            merge_control(settings.reasoning, dataset.reasoning, dataset.name),
        )

    if (listed := _blend(path)) is not None:
        for dataset in listed:
            for row in inspect_dataset(dataset, template, tokenizer, rules(dataset), wanted, pieces=tokens):
                yield {"dataset": dataset.name, **row}
        return
    with _lines_of_stdin() if path == "-" else contextlib.nullcontext(path) as file:
        yield from inspect_file(file, template, tokenizer, rules(Dataset(path, path)), wanted, pieces=tokens)


def _blend(path: str) -> "tuple[Dataset, ...] | None":
    """List the datasets of a blend; None if the path is not a blend."""
    from nemotron.data_prep.sources.blend import read_blend
    from nemotron.data_prep.sources.chat_data import is_chat_data

    if not path.endswith(".json") or "://" in path:
        return None
    file = Path(path)
    return read_blend(file).datasets if file.is_file() and not is_chat_data(file) else None


@contextlib.contextmanager
def _lines_of_stdin() -> Iterator[str]:
    """Write stdin to a file, because data prep reads files."""
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
        file.flush()
        yield file.name


def _settings(config: str | None, overrides: list[str]) -> "tuple[DataPrepConfig, bool]":
    """Load the config, and decide whether its length limit applies to this data."""
    if config is not None:
        return configs.load_prep(config, overrides).config, True
    if (last := _last_config(overrides)) is not None:
        console.note(f"Settings are those of the last data prep here: {last}")
        return configs.load_prep(str(last), overrides).config, True
    judges_length = any(override.partition("=")[0] in ("pack_size", "max_doc_tokens") for override in overrides)
    own_tokenizer = any(override.startswith("tokenizer.model=") for override in overrides)
    console.note(
        "No data prep has run in this folder: "
        f"{'' if own_tokenizer else 'tokens are counted with the bundled tokenizer'}"
        f"{'' if own_tokenizer or judges_length else ', and '}"
        f"{'' if judges_length else 'lengths are not checked'}. Use -c NAME or PATH for the settings of a config."
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
