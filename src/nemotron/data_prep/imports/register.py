"""Check packed Parquet that was made elsewhere, and record it in place."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nemotron.data_prep.config import TokenizerConfig
from nemotron.data_prep.imports.packs import Counts, Limits, check_file
from nemotron.data_prep.imports.splits import IMPORTED, Found, check_files, find_splits
from nemotron.data_prep.output.publish import name_content
from nemotron.errors import Problem, UserError, refuse
from nemotron.files.atomic_files import checksum
from nemotron.lineage import Artifact, check_name, check_root, log_artifact

MOST_PROBLEMS = 20
"""How many problems are shown; a faulty file is rarely the only one."""
OnProgress = Callable[[int, int], None]
"""Called with (bytes read, total bytes)."""


@dataclass(frozen=True)
class Registered:
    """The recorded data."""

    artifact: Artifact
    folder: Path
    splits: dict[str, Counts]
    pack_size: int
    is_guessed: bool
    """Whether the pack size is a guess from the longest pack, because it is not recorded."""
    tokenizer: str | None
    notes: list[str]


def register_data(
    given: Path,
    *,
    name: str,
    artifacts: Path,
    tokenizer: str | None = None,
    pack_size: int | None = None,
    pad_to_multiple: int | None = None,
    on_progress: OnProgress = lambda done, total: None,
) -> Registered:
    """Check every row of packed Parquet, and record the folder as an artifact.

    Nothing is copied.

    Args:
        given: Folder with train/, valid/ and test/, or the folder around it with splits/.
        name: Name of the artifact.
        artifacts: Folder of the artifact records.
        tokenizer: Id or folder of the tokenizer that was used; None takes the recorded one.
        pack_size: Pack size that was used, in tokens; None takes the recorded one, else a guess from the longest pack.
        pad_to_multiple: Padding of each sequence; None takes the recorded one, else 1.
        on_progress: Called with the bytes read and the total.

    Raises:
        UserError: The data does not exist, or a trainer cannot read it; each fault is listed with file and row.
    """
    check_name(name)
    check_root(artifacts)
    found = find_splits(given)
    refuse(check_files(found))
    notes: list[str] = []
    made_with = _describe_tokenizer(tokenizer, found.record, notes)
    limits = Limits(
        pack_size=pack_size or _to_int(found.record.get("pack_size")),
        vocab_size=made_with.get("vocab_size"),
        eos_id=made_with.get("eos_id"),
        pad_to_multiple=pad_to_multiple or _to_int(found.record.get("pad_to_multiple")) or 1,
    )
    counts = _check_packs(found, limits, on_progress)
    size = limits.pack_size or _round_up(max(each.longest for each in counts.values()))
    if "valid" not in counts:
        notes.append("There is no valid split, so training runs without validation.")
    read_as = {"pack_size": size, "pad_to_multiple": limits.pad_to_multiple, "tokenizer": made_with}
    digest = _name_content(found)
    run_hash = _run_hash(found, digest, read_as)
    facts = {
        "run_hash": run_hash,
        "pack_size": size,
        "pad_to_multiple": limits.pad_to_multiple,
        "tokens": sum(each.tokens for each in counts.values()),
        "supervised_tokens": sum(each.supervised_tokens for each in counts.values()),
        "sequences": sum(each.sequences for each in counts.values()),
        "packs": {split: each.packs for split, each in counts.items()},
        "splits": {split: asdict(each) for split, each in counts.items()},
        IMPORTED: str(found.folder),
        **({"tokenizer": made_with, "vocab_size": made_with.get("vocab_size")} if made_with else {}),
    }
    artifact = log_artifact(
        name=name,
        type="dataset",
        path=found.folder,
        root=artifacts,
        metadata=found.record if run_hash == found.record.get("run_hash") else facts,
        digest=digest,
    )
    is_guessed = limits.pack_size is None
    return Registered(artifact, found.folder, counts, size, is_guessed, made_with.get("model"), notes)


def _check_packs(found: Found, limits: Limits, on_progress: OnProgress) -> dict[str, Counts]:
    """Read and check all packs.

    Raises:
        UserError: There are faults, all of which are listed, or nothing would train.
    """
    total = sum(path.stat().st_size for files in found.files.values() for path in files)
    done, problems, counts = 0, list[Problem](), dict[str, Counts]()
    for split, files in found.files.items():
        for path in files:
            checked = check_file(path, limits)
            problems += checked.problems
            counts.setdefault(split, Counts()).add(checked.counts)
            done += path.stat().st_size
            on_progress(done, total)
            if len(problems) >= MOST_PROBLEMS:
                refuse(problems[:MOST_PROBLEMS])
    refuse(problems)
    if not counts["train"].packs:
        raise UserError(f"{found.folder / 'train'} has no packs: its files have no rows.", "Make the data again.")
    if not counts["train"].supervised_tokens:
        raise UserError(
            f"{found.folder / 'train'} has nothing to train: loss_mask is 0 everywhere.",
            "Make the data again, with 1 if the next token is the assistant's.",
        )
    return {split: each for split, each in counts.items() if each.packs}


def _describe_tokenizer(given: str | None, record: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    """Describe the tokenizer as data prep records it; empty if it is unknown."""
    from nemotron.data_prep.tokenizer.load import load_tokenizer

    recorded = record.get("tokenizer")
    model = given or (recorded.get("model") if isinstance(recorded, dict) else None)
    if not isinstance(model, str):
        notes.append("No tokenizer is recorded, so ids are not checked. Give it with --tokenizer ID|DIR.")
        return {}
    try:
        loaded = load_tokenizer(TokenizerConfig(model=model))
    except UserError as error:
        if given:
            raise
        notes.append(f"The recorded tokenizer cannot be read, so ids are not checked. {error.message}")
        return recorded if isinstance(recorded, dict) else {}
    described = {"model": model, "digest": loaded.digest, "vocab_size": loaded.vocab_size, "eos_id": loaded.eos_id}
    return {**(recorded if isinstance(recorded, dict) and not given else {}), **described}


def _name_content(found: Found) -> str:
    """Return a digest of the content, in the same way as data prep."""
    return name_content(
        f"splits/{split}/{path.name} {checksum(path)}" for split, files in found.files.items() for path in files
    )


def _run_hash(found: Found, digest: str, read_as: dict[str, Any]) -> str:
    """Return a hash of the content and of how it is read, wherever it is.

    Unchanged data of data prep keeps its run hash.

    Args:
        found: The files.
        digest: Digest of their content.
        read_as: Pack size, padding and tokenizer.
    """
    own = found.record.get("run_hash")
    if (
        isinstance(own, str)
        and digest == found.digest
        and all(found.record.get(key) == read_as[key] for key in read_as)
    ):
        return own
    return hashlib.sha256(f"{digest} {json.dumps(read_as, sort_keys=True)}".encode()).hexdigest()[:16]


def _to_int(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _round_up(tokens: int) -> int:
    """Return the next power of two, because packs are rarely completely full."""
    return 1 << (tokens - 1).bit_length()
