"""Verify that a finished run is still what data prep wrote.

This checks checksums, links, and the contents of packs.
"""

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import zstandard

from nemotron.data_prep.output.metadata import Metadata, SplitStats, read_metadata
from nemotron.data_prep.output.publish import megatron_blend
from nemotron.data_prep.packing.shards import SCHEMA, read_shard_receipt, receipt_of
from nemotron.data_prep.sources.written_plan import read_inputs
from nemotron.data_prep.tokenization.part_files import RECEIPT, file_of, read_receipt
from nemotron.errors import UserError
from nemotron.files.atomic_files import checksum, find_changes
from nemotron.files.folder_lock import find_holder
from nemotron.files.regular_files import open_file, open_parquet, read_bytes
from nemotron.lineage import MANIFEST

IF_MOVED = "if the folder was moved, run data prep again with it as output_dir, which only updates the paths."


def verify(folder: Path) -> Iterator[str]:
    """Yield each problem of the finished run in an output folder, as a sentence.

    Raises:
        UserError: The folder has no finished run, is being written, or was written in the meantime.
    """
    folder = folder.absolute()
    _refuse_held(folder)
    metadata = read_metadata(folder / "metadata.json")
    if metadata is None:
        raise UserError(
            f"{folder} has no finished run of data prep: metadata.json is missing, damaged or of another version.",
            "Give the output_dir of `nemotron super3 data prep sft`, let it finish, and use the same release.",
        )
    written = _when_written(folder, metadata)
    for problem in _find_problems(folder, metadata):
        _refuse_held(folder)
        if _when_written(folder, metadata) != written:
            raise UserError(f"{folder} was written while it was verified.", "Verify it again.")
        yield problem


def _refuse_held(folder: Path) -> None:
    if (holder := find_holder(folder)) is not None:
        raise UserError(f"{folder} is being written by {holder}.", "Wait until it ends, then verify again.")


def _when_written(folder: Path, metadata: Metadata) -> list[int]:
    """Return when a run's first file and its folder's last file were written."""
    files = [folder / "runs" / metadata.run_hash / "plan.json", folder / "metadata.json"]
    return [path.stat().st_mtime_ns if path.exists() else 0 for path in files]


def _find_problems(folder: Path, metadata: Metadata) -> Iterator[str]:
    run = folder / "runs" / metadata.run_hash
    if (folder / "splits").resolve() != (run / "splits").resolve():
        yield f"{folder / 'splits'} does not link to the run of metadata.json, {run / 'splits'}."
    yield from find_changes(run, needed="metadata.json")
    yield from _verify_shown(folder, run, metadata)
    yield from _verify_tokens(run)
    yield from _verify_accounts(run, metadata)
    for split in metadata.splits:
        yield from _verify_split(run, split, metadata)


def _verify_shown(folder: Path, run: Path, metadata: Metadata) -> Iterator[str]:
    """Yield problems of the output folder's own files and of the run's artifact."""
    of_run = read_metadata(run / "metadata.json")
    if of_run is None or replace(of_run, config_name=metadata.config_name) != metadata:
        yield f"{folder / 'metadata.json'} is not that of the run, {run / 'metadata.json'}."
    if _resolve_paths(_json(folder / "blend.json")) != _resolve_paths(megatron_blend(run, metadata)):
        yield f"{folder / 'blend.json'} does not list the shards of the run where they are; {IF_MOVED}"
    if not (folder / "report.html").is_file():  # its contents are only for people
        yield f"{folder / 'report.html'} is missing."
    manifest = run / "splits" / MANIFEST
    artifact = _json(manifest)
    facts = artifact.get("metadata") if isinstance(artifact, dict) else None
    if not isinstance(facts, dict) or facts.get("run_hash") != metadata.run_hash:
        yield f"{manifest} is not the artifact of the run."
    elif Path(str(artifact.get("path"))) != (run / "splits").resolve():
        yield f"{manifest} records the path {artifact.get('path')}; {IF_MOVED}"


def _resolve_paths(blend: Any) -> Any:
    """Return a Megatron blend with resolved paths, otherwise as JSON values."""
    if not isinstance(blend, dict) or not all(isinstance(entries, list) for entries in blend.values()):
        return None
    return {
        key: [str(Path(entry).resolve()) if isinstance(entry, str) else entry for entry in entries]
        for key, entries in orjson.loads(orjson.dumps(blend)).items()
    }


def _json(path: Path) -> Any:
    try:
        return orjson.loads(read_bytes(path))
    except (OSError, orjson.JSONDecodeError):
        return None


def _verify_tokens(run: Path) -> Iterator[str]:
    """Yield problems of the tokenized parts, compared with their receipts."""
    try:
        links = {dataset.link(run, file) for dataset in read_inputs(run) for file in dataset.files}
    except UserError as error:
        yield error.message
        return
    for link in sorted(links):
        if not link.is_dir():
            yield f"{link} is a broken link: the tokenized parts are gone."
        for path in sorted(link.glob(f"part_*{RECEIPT}")):
            part = path.with_name(path.name.removesuffix(RECEIPT))
            receipt = read_receipt(part)
            if receipt is None:
                yield f"{path}: a file of this tokenized part is missing or has another size."
                continue
            for suffix, made in receipt.files.items():
                if checksum(file_of(part, suffix)) != made["checksum"]:
                    yield f"{file_of(part, suffix)} does not match the checksum in its receipt."


def _verify_accounts(run: Path, metadata: Metadata) -> Iterator[str]:
    """Yield problems of the counts: rows are kept or dropped, dropped ones are listed."""
    for stats in metadata.datasets:
        if stats.rows != stats.kept + sum(stats.dropped.values()):
            yield f"Dataset {stats.name} has {stats.rows} rows, which are not the kept and dropped ones together."
    path, dropped = run / "dropped.jsonl.zst", sum(sum(stats.dropped.values()) for stats in metadata.datasets)
    try:
        with open_file(path) as raw, zstandard.open(raw, "rb") as stream, io.BufferedReader(stream) as file:
            listed = sum(1 for line in file if orjson.loads(line))
    except (OSError, zstandard.ZstdError, orjson.JSONDecodeError) as error:
        yield f"{path} cannot be read: {error}."
        return
    if listed != dropped:
        yield f"{path} lists {listed} rows, but metadata.json counts {dropped}."


def _verify_split(run: Path, split: SplitStats, metadata: Metadata) -> Iterator[str]:
    folder = run / split.path
    expected, found = {shard.file for shard in split.shards}, {path.name for path in folder.glob("*.parquet")}
    for name in sorted(found - expected):
        yield f"{folder / name} does not belong to this run."
    totals, conversations = np.zeros(4, np.int64), 0.0
    for shard in split.shards:
        path = folder / shard.file
        receipt = receipt_of(path)
        if not path.is_file():
            yield f"{path} is missing."
        elif read_shard_receipt(path, receipt) != shard:
            yield f"{receipt} does not match metadata.json and the size of {path}."
        elif checksum(path) != shard.checksum:
            yield f"{path} does not match the checksum in its receipt."
        else:
            problems, counts, shares = _check_shard(path, metadata)
            yield from (f"{path}: {problem}" for problem in problems)
            totals += counts
            conversations += shares
            if counts[:3] != [shard.packs, shard.sequences, shard.tokens]:
                yield f"{path} has {counts[0]} packs, {counts[1]} sequences and {counts[2]} tokens, unlike its receipt."
    if totals.tolist() != [split.packs, split.sequences, split.tokens + split.padding, split.supervised_tokens]:
        yield f"The shards of {split.name} do not add up to the counts of metadata.json."
    elif abs(conversations - split.conversations) > 0.01:
        yield f"By conversation_targets {split.name} has {conversations:.2f} conversations, not {split.conversations}."


def _check_shard(path: Path, metadata: Metadata) -> tuple[list[str], list[int], float]:
    """Check a shard, one row group in memory at a time.

    Returns:
        Its problems; its packs, sequences, tokens and supervised tokens; and the sum of its sequences' shares of their
        conversations, which over a split is the number of conversations.
    """
    problems: list[str] = []
    counts, shares = np.zeros(4, np.int64), 0.0
    first_pack = 0
    try:
        with open_parquet(path) as file:
            if file.schema_arrow != SCHEMA:
                problem = f"the columns are {file.schema_arrow.names}, or of other types than data prep writes."
                return [problem], [0] * 4, 0.0
            for group in range(file.num_row_groups):
                table = file.read_row_group(group)
                for pack, (ids, mask, starts, whole) in enumerate(_packs(table), start=first_pack):
                    # The trainer's collator zeroes the loss wherever the input token is eos (see loss_mask.py).
                    trained = (mask == 1) & (ids[: len(mask)] != metadata.tokenizer["eos_id"])
                    counts += 1, len(starts), len(ids), int(trained.sum())
                    found = [*_check_pack(ids, mask, starts, metadata)]
                    if not found:
                        targets = np.add.reduceat(trained, starts, dtype=np.int64)
                        found = [*_check_conversations(targets, whole)]
                        shares += 0.0 if found else float((targets / whole).sum())
                    problems += [f"pack {pack}: {problem}" for problem in found]
                first_pack += table.num_rows
    except (OSError, pa.ArrowException) as error:
        problems.append(f"cannot be read: {error}")
    return problems[:10], counts.tolist(), shares


def _packs(table: pa.Table) -> Iterator[tuple[np.ndarray, ...]]:
    columns = [table.column(name) for name in SCHEMA.names]
    for values in zip(*columns, strict=True):
        yield tuple(value.values.to_numpy() for value in values)


def _check_conversations(targets: np.ndarray, whole: np.ndarray) -> Iterator[str]:
    """Yield problems of targets: each sequence has 1 up to those of its conversation."""
    if len(whole) != len(targets):
        yield f"{len(whole)} values of conversation_targets for {len(targets)} sequences."
    elif (targets < 1).any() or (whole < targets).any():
        yield f"sequences have {targets[:8].tolist()} supervised tokens, but their conversations {whole[:8].tolist()}."


def _check_pack(ids: np.ndarray, mask: np.ndarray, starts: np.ndarray, metadata: Metadata) -> Iterator[str]:
    """Yield problems of one pack: its size, boundaries, ids and mask."""
    if not 0 < len(ids) <= metadata.pack_size:
        yield f"it has {len(ids)} tokens, not 1 to {metadata.pack_size}."
    if len(mask) != len(ids):
        yield f"it has {len(mask)} mask values for {len(ids)} tokens."
        return
    if len(starts) == 0 or starts[0] != 0 or (np.diff(starts) <= 0).any() or starts[-1] >= len(ids):
        yield f"the starts of its sequences do not increase from 0: {starts[:8].tolist()}."
        return
    if ids.min() < 0 or ids.max() >= metadata.tokenizer["vocab_size"]:
        yield f"a token id is outside the vocabulary; ids are {ids.min()} to {ids.max()}."
    if mask.max() > 1:
        yield f"a mask value is {mask.max()}, not 0 or 1."
    if mask[np.append(starts[1:], len(ids)) - 1].any():
        yield "the last token of a sequence is trained to predict the next sequence: the mask is not rolled."
