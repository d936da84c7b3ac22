"""What is measured: commands a person types and waits for, and loads that data prep must bear."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import corpus

PREP = ("super3", "data", "prep", "sft")


@dataclass(frozen=True)
class Case:
    """One command, and the inputs it needs."""

    name: str
    arguments: tuple[str, ...]
    """Of `nemotron`, run in the folder of the case."""
    make: Callable[[Path], None] = lambda folder: None
    """Makes the inputs in the folder, once."""
    keeps: bool = False
    """Whether the output of the run before stays: the command finds its work done."""
    large: bool = False
    """Whether it takes minutes, or gigabytes."""


def _tiny(folder: Path) -> None:
    command = [sys.executable, "-m", "nemotron", *PREP, "-c", "tiny", "output_dir=data", "run.artifacts=artifacts"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def _corpus(conversations: int, copies: int = 1) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        shared = folder.parent / f"corpus-{conversations}x{copies}.jsonl"  # of all cases that have it
        if not shared.exists():
            unfinished = shared.with_suffix(".unfinished")
            corpus.make_corpus(unfinished, conversations, copies)
            unfinished.rename(shared)
        (folder / "corpus.jsonl").hardlink_to(shared)
        _tokenizer(folder)

    return make


def _tokenizer(folder: Path) -> None:
    """The 131k tokenizer, trained once on the corpus of 113 MB for all cases."""
    shared = folder.parent / "tokenizer"
    if not (shared / "tokenizer.json").is_file():
        text = folder.parent / "training-text.jsonl"
        corpus.make_corpus(text, 20_000)
        corpus.make_tokenizer(shared, text)
        text.unlink()


def _many_files(folder: Path) -> None:
    _corpus(10_000)(folder)
    (folder / "files").mkdir()
    for number, line in enumerate((folder / "corpus.jsonl").read_text().splitlines()):
        (folder / "files" / f"{number:05}.jsonl").write_text(line + "\n")


def _short_rows(folder: Path) -> None:
    """A million rows of a hundred bytes: all that is done for a row, and little text."""
    with open(folder / "corpus.jsonl", "w") as file:
        for number in range(1_000_000):
            asked = {"role": "user", "content": f"What follows {number}?"}
            file.write(json.dumps({"messages": [asked, {"role": "assistant", "content": f"{number + 1}."}]}) + "\n")
    _tokenizer(folder)


def _many_datasets(folder: Path) -> None:
    """A blend of 300 datasets with weights, of 20 conversations each."""
    _corpus(6000)(folder)
    lines = (folder / "corpus.jsonl").read_text().splitlines(keepends=True)
    (folder / "files").mkdir()
    datasets = []
    for number in range(300):
        path = f"files/{number:03}.jsonl"
        (folder / path).write_text("".join(lines[20 * number : 20 * number + 20]))
        datasets.append({"name": f"dataset-{number:03}", "path": path, "weight": 1 + number % 3})
    (folder / "blend.json").write_text(json.dumps({"datasets": datasets}))


def _long_row(folder: Path) -> None:
    """One conversation of 20,000 messages, all answers with reasoning: each turn begins with the history."""
    messages = []
    for number in range(10_000):
        messages.append({"role": "user", "content": f"{number}?"})
        messages.append({"role": "assistant", "content": f"{number}.", "reasoning_content": "Easy."})
    (folder / "corpus.jsonl").write_text(json.dumps({"messages": messages}) + "\n")
    _tokenizer(folder)


def _prep(*more: str, data: str = "corpus.jsonl") -> tuple[str, ...]:
    """Arguments of data prep; `data` are rows, or `blend_path=` and a blend."""
    always = ("tokenizer.model=../tokenizer", "pack_size=4096", "output_dir=output", "run.artifacts=artifacts")
    return (*PREP, data, "-c", "tiny", *always, *more)


CASES = (
    Case("help", ("--help",)),
    Case("sft --dry-run", ("super3", "sft", "-c", "tiny", "run.data=data/splits", "--dry-run"), _tiny),
    Case("prep --dry-run, 131k tokenizer", _prep("--dry-run"), _corpus(200)),
    Case("prep, 1 MB", _prep("workers=1"), _corpus(200)),
    Case("prep, done already", _prep("workers=1"), _corpus(200), keeps=True),
    Case("prep, 113 MB, 1 worker", _prep("workers=1"), _corpus(20_000)),
    Case("prep, 113 MB, 2 workers", _prep("workers=2"), _corpus(20_000)),
    Case("prep, 300 datasets", _prep("workers=2", data="blend_path=blend.json"), _many_datasets),
    Case("prep, 10,000 files", _prep("workers=2", data="files"), _many_files, large=True),
    Case("prep, 1,000,000 rows", _prep("workers=2"), _short_rows, large=True),
    Case("prep, 572 MB, 1 worker", _prep("workers=1"), _corpus(20_000, 5), large=True),
    Case("prep, 572 MB, 2 workers", _prep("workers=2"), _corpus(20_000, 5), large=True),
    Case("prep, 1,000 shards", _prep("workers=2", "num_shards=1000", "pack_size=1024"), _corpus(20_000, 5), large=True),
    Case("prep, a row of 20,000 messages", _prep("workers=1", "overlong=split_turns"), _long_row),
)


def folder_of(case: Case, root: Path) -> Path:
    """Make the inputs of a case, if they are not there."""
    folder = root / "".join(letter if letter.isalnum() else "-" for letter in case.name)
    if not (folder / "ready").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        print(f"making the inputs of: {case.name}", file=sys.stderr)
        case.make(folder)
        (folder / "ready").touch()
    return folder
