"""Data prep the slow way, for comparison: what a first version looks like when each step is done the obvious way.

Every prefix of every training sequence is rendered with Jinja, once a message, and what a message adds to it is its
chunk; the chunks of a sequence are encoded with Hugging Face tokenizers into Python lists; over-long sequences are cut;
first fit looks at every pack; Parquet is written from lists. The sequences and chunks are the same as data prep's.
"""

import json
import random
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from tokenizers import Tokenizer

from nemotron.data_prep.chat.reasoning import turns_to_train
from nemotron.data_prep.chat.template import Template, load_template
from nemotron.data_prep.dialects.row import parse_row

Sequence = tuple[list[int], list[int]]


def prepare_slowly(
    corpus: Path, first_row: int, rows: int, tokenizer: Path, output: Path, pack_size: int
) -> dict[str, float]:
    """Prepare `rows` rows of the corpus from `first_row` on.

    Returns the seconds, also by stage, the CPU seconds, and the bytes read and tokens made.
    """
    template = load_template("nemotron3")
    encoder = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    with open(corpus, "rb") as file:
        lines = [line for number, line in enumerate(file) if first_row <= number < first_row + rows]
    began, began_cpu = time.perf_counter(), time.process_time()
    seconds: dict[str, float] = dict.fromkeys(("parse", "render", "encode", "pack", "write"), 0.0)
    sequences: list[Sequence] = []
    for line in lines:
        begin = time.perf_counter()
        conversation = parse_row(json.loads(line))
        parsed = time.perf_counter()
        rendered = [
            _chunks_by_prefix(template, conversation.messages[: turn.stop], conversation.tools, turn.start)
            for turn in turns_to_train(conversation.messages)
        ]
        done = time.perf_counter()
        sequences += [_encode(encoder, chunks) for chunks in rendered]
        for stage, spent in (
            ("parse", parsed - begin),
            ("render", done - parsed),
            ("encode", time.perf_counter() - done),
        ):
            seconds[stage] += spent
    begin = time.perf_counter()
    packs = _first_fit([(ids[:pack_size], mask[:pack_size]) for ids, mask in sequences], pack_size)
    packed = time.perf_counter()
    _write(packs, output)
    seconds |= {"pack": packed - begin, "write": time.perf_counter() - packed}
    spent = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - began_cpu}
    return {**seconds, **spent, "bytes": sum(map(len, lines)), "tokens": sum(len(ids) for ids, _ in sequences)}


def _chunks_by_prefix(
    template: Template, messages: list[Any], tools: list[Any] | None, start: int
) -> list[tuple[str, bool]]:
    """(text, supervised) of each message of a sequence, by rendering the conversation up to and including it.

    Before an answer, with its generation prompt: one rendering a message, as in the public recipe.
    """
    chunks: list[tuple[str, bool]] = []
    before = 0
    for stop in range(max(start, 1), len(messages) + 1):
        message, following = messages[stop - 1], messages[stop] if stop < len(messages) else {"role": ""}
        if message["role"] == following["role"] == "tool":
            continue  # tool results share a turn, which only the last one closes
        is_asked = following["role"] == "assistant" != message["role"]
        thinks = bool(following.get("reasoning_content"))
        text = template.render(messages[:stop], tools, add_generation_prompt=is_asked, enable_thinking=thinks)
        chunks.append((text[before:], message["role"] == "assistant" and stop > start))
        before = len(text)
    return chunks


def _encode(encoder: Tokenizer, chunks: list[tuple[str, bool]]) -> Sequence:
    ids: list[int] = []
    mask: list[int] = []
    encoded = encoder.encode_batch_fast([text for text, _ in chunks], add_special_tokens=False)
    for encoding, (_, supervised) in zip(encoded, chunks, strict=True):
        ids += encoding.ids
        mask += [int(supervised)] * len(encoding.ids)
    return ids, mask


def _first_fit(sequences: list[Sequence], pack_size: int) -> list[list[Sequence]]:
    random.Random(0).shuffle(sequences)
    packs: list[list[Sequence]] = []
    free: list[int] = []
    for sequence in sequences:
        number = next((number for number, room in enumerate(free) if len(sequence[0]) <= room), len(packs))
        if number == len(packs):
            packs.append([])
            free.append(pack_size)
        packs[number].append(sequence)
        free[number] -= len(sequence[0])
    return packs


def _write(packs: list[list[Sequence]], output: Path) -> None:
    columns: dict[str, list[list[int]]] = {"input_ids": [], "loss_mask": [], "seq_start_id": []}
    for pack in packs:
        ids: list[int] = []
        mask: list[int] = []
        starts: list[int] = []
        for sequence_ids, sequence_mask in pack:
            starts.append(len(ids))
            ids += sequence_ids
            mask += [*sequence_mask[1:], 0]
        columns["input_ids"].append(ids)
        columns["loss_mask"].append(mask)
        columns["seq_start_id"].append(starts)
    types = {"input_ids": pa.int32(), "loss_mask": pa.uint8(), "seq_start_id": pa.int32()}
    table = pa.table({name: pa.array(rows, pa.list_(types[name])) for name, rows in columns.items()})
    pq.write_table(table, output, compression="zstd")
