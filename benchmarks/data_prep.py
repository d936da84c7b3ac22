"""How fast data prep is: against the slow way and stage by stage, or with several numbers of workers, in one run.

    python benchmarks/data_prep.py                      # 20,000 conversations, 113 MB
    python benchmarks/data_prep.py --conversations 2000 --rounds 1
    python benchmarks/data_prep.py --workers 1 2                       # one worker and two, and the memory of each
    python benchmarks/data_prep.py --workers 1 2 --copies 5 --rounds 4 # of a corpus five times as large

Every measurement is a process of its own. Those that are compared are interleaved, round by round, because machines
drift; ratios are taken within a round, and medians over the rounds. CPU seconds are given too, of all processes of a
measurement together: on a machine that others use as well they say more than the clock. The corpora and the tokenizer
are kept in --folder. Memory is the proportional set size of all processes together, sampled (measure.py).
"""

import argparse
import dataclasses
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nemotron.data_prep.dialects.admission import Admission
    from nemotron.data_prep.plain_rows.read import PlainRows
    from nemotron.data_prep.sources import Part

PACK_SIZE = 4096
Round = dict[str, dict[str, float]]
"""What was measured in one round, by name."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--conversations", type=int, default=20_000)
    parser.add_argument("--copies", type=int, default=1, help="so many times as many, all of them different")
    parser.add_argument("--workers", type=int, nargs="+", help="compare these numbers of workers, and nothing else")
    parser.add_argument("--slow-rows", type=int, default=500, help="rows of the corpus that go the slow way")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "nemotron-benchmark")
    parser.add_argument("--measure", choices=sorted(MEASURES), help=argparse.SUPPRESS)
    parser.add_argument("--argument", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(MEASURES[arguments.measure](arguments.folder, arguments.argument)))
        return
    folder = arguments.folder.resolve() / f"{arguments.conversations}x{arguments.copies}"
    _make_inputs(folder, arguments.conversations, arguments.copies)
    if arguments.workers:
        _show_workers(
            [_round(folder, [("fast", count) for count in arguments.workers]) for _ in range(arguments.rounds)]
        )
        return
    measures = [("slow", arguments.slow_rows), ("fast", 1)]
    _show_ends([_round(folder, measures) for _ in range(arguments.rounds)])
    _show_stages(_child(folder, "stages", 0))


def _make_inputs(folder: Path, conversations: int, copies: int) -> None:
    import corpus  # here: a worker process imports this file again, and needs none of it

    if not (folder / "blend.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        corpus.make_corpus(folder / "corpus.jsonl", conversations, copies)
        corpus.make_tokenizer(folder / "tokenizer", folder / "corpus.jsonl")
        (folder / "blend.json").write_text(json.dumps({"datasets": [{"path": "corpus.jsonl"}]}))


def _round(folder: Path, measures: Sequence[tuple[str, int]]) -> Round:
    return {_name(measure, argument): _child(folder, measure, argument) for measure, argument in measures}


def _name(measure: str, argument: int) -> str:
    if measure == "slow":
        return f"slow way ({argument} rows)"
    return "1 worker" if argument == 1 else f"{argument} workers"


def _child(folder: Path, measure: str, argument: int) -> dict[str, float]:
    """Run a measurement; return what it prints, and what all its processes took."""
    from measure import measure as measure_command  # here: a worker process imports this file again

    script = str(Path(__file__).resolve())
    command = [sys.executable, script, "--folder", str(folder), "--measure", measure, "--argument", str(argument)]
    shutil.rmtree(_output(folder, argument), ignore_errors=True)  # here: removing it is not what is measured
    taken = measure_command(command, folder, {"TOKENIZERS_PARALLELISM": "false"})
    *_, printed = taken.output.splitlines()
    whole = {"process_seconds": taken.seconds, "cpu_seconds": taken.cpu_seconds, "pss_mib": taken.pss_mib}
    return whole | json.loads(printed)


def measure_fast(folder: Path, workers: int) -> dict[str, float]:
    """Measure data prep end to end, as `nemotron super3 data prep sft` does after reading its config.

    `seconds` are without importing it; `process_seconds`, which the caller adds, are with that and starting Python.
    """
    from nemotron.data_prep.pipeline import prepare

    begin = time.perf_counter()
    metadata = prepare(_config(folder, _output(folder, workers), workers)).metadata
    return {"seconds": time.perf_counter() - begin, "bytes": metadata.datasets[0].bytes, "tokens": metadata.tokens,
            "conversations": metadata.conversations, "fill": metadata.splits[0].fill,
            "median": metadata.sequence_lengths["median"]}  # fmt: skip


def _output(folder: Path, workers: int) -> Path:
    return folder / f"prepared-{workers}"


def measure_slow(folder: Path, rows: int) -> dict[str, float]:
    """Measure the slow way on rows from the middle of the corpus, without loading the tokenizer."""
    import prefix_recipe

    first = int(folder.name.partition("x")[0]) // 2
    return prefix_recipe.prepare_slowly(
        folder / "corpus.jsonl", first, rows, folder / "tokenizer", folder / "slow.parquet", PACK_SIZE
    )


def measure_stages(folder: Path, _unused: int) -> dict[str, Any]:
    """CPU seconds of each stage of data prep alone, over the whole corpus, in the order of the pipeline.

    Plain rows are read, hashed and rendered in one stage, the others in three.
    """
    import numpy as np

    from nemotron.data_prep.chat.chunks import sequences
    from nemotron.data_prep.chat.content_hash import content_hash
    from nemotron.data_prep.collector import collect_rarely
    from nemotron.data_prep.packing.algorithms import pack
    from nemotron.data_prep.plain_rows.read import PlainRows
    from nemotron.data_prep.plan import make_plan
    from nemotron.data_prep.sources import read_rows
    from nemotron.data_prep.tokenization.loss_mask import loss_mask

    seconds: dict[str, float] = dict.fromkeys(
        ("plan", "json", "plain rows", "parse", "hash", "render", "encode", "mask", "pack"), 0.0
    )

    def timed[Result](stage: str, work: Callable[[], Result]) -> Result:
        begin = time.process_time()
        result = work()
        seconds[stage] += time.process_time() - begin
        return result

    plan = timed("plan", lambda: make_plan(_config(folder, folder / "stages", 1)))
    tokenizer = plan.tokenizer.encoding_with("gigatoken")
    tokenizer.encode(["warm"])
    lengths: list[np.ndarray] = []
    encoded_bytes = 0

    def measure_part(part: "Part", admission: "Admission", plain_rows: "PlainRows") -> None:
        nonlocal encoded_bytes
        rows = timed("json", lambda: list(read_rows(part)))
        read = timed("plain rows", lambda: [plain_rows.read(row) for row in rows])
        others = [row for row, plain in zip(rows, read, strict=True) if plain is None]
        parsed = timed("parse", lambda: [admission.conversation(row) for row in others])
        timed("hash", lambda: [content_hash(conversation) for conversation in parsed])
        rendered = timed("render", lambda: [s for each in parsed for s in sequences(each, plan.template)])
        chunks = [
            (text, number > 0 and number % 2 == 0) for plain in read if plain for number, text in enumerate(plain.texts)
        ]
        chunks += [(chunk.text, chunk.supervised) for sequence in rendered for chunk in sequence]
        texts, supervised = zip(*chunks, strict=True)
        ids, counts = timed("encode", lambda: tokenizer.encode(texts))
        timed("mask", lambda: loss_mask(ids, counts, np.array(supervised), tokenizer.end_id))
        bounds = np.cumsum([*(len(plain.texts) for plain in read if plain), *map(len, rendered)])
        lengths.append(np.add.reduceat(counts, np.concatenate([[0], bounds[:-1]])))
        encoded_bytes += sum(map(len, texts))

    with collect_rarely():
        for work in plan.tokenize_works(0):
            plain_rows = PlainRows(work.admission, work.control, plan.template, tokenizer.special_tokens)
            for part in work.parts:
                measure_part(part, work.admission, plain_rows)
    capped = np.minimum(np.concatenate(lengths), PACK_SIZE)
    timed("pack", lambda: pack(capped, PACK_SIZE))
    return {"stages": seconds, "bytes": plan.datasets[0].bytes, "characters": encoded_bytes,
            "tokens": int(np.concatenate(lengths).sum()), "sequences": len(capped)}  # fmt: skip


def _config(folder: Path, output: Path, workers: int) -> Any:
    from nemotron.data_prep.config import DataPrepConfig, PrepRunConfig, TokenizerConfig

    config = DataPrepConfig(blend_path=str(folder / "blend.json"), output_dir=str(output), workers=workers)
    return dataclasses.replace(
        config,
        pack_size=PACK_SIZE,
        tokenizer=TokenizerConfig(model=str(folder / "tokenizer")),
        run=PrepRunConfig(artifacts=str(folder / "artifacts")),
    )


def _show_ends(rounds: list[Round]) -> None:
    slow, fast = rounds[0]
    _show_corpus(rounds, fast)
    print(f"{'':20}{'seconds':>9}{'CPU s':>9}{'MB/s':>9}{'tokens/s':>12}{'MB/CPU s':>11}{'peak MiB':>10}")
    for name in rounds[0]:
        runs = [measured[name] for measured in rounds]
        columns = (
            statistics.median(run["seconds"] for run in runs),
            statistics.median(run["cpu_seconds"] for run in runs),
            statistics.median(run["bytes"] / 1e6 / run["seconds"] for run in runs),
            statistics.median(run["tokens"] / run["seconds"] for run in runs),
            statistics.median(run["bytes"] / 1e6 / run["cpu_seconds"] for run in runs),
            max(run["pss_mib"] for run in runs),
        )
        print(f"{name:20}{columns[0]:9.2f}{columns[1]:9.2f}{columns[2]:9.2f}{columns[3]:12,.0f}{columns[4]:11.2f}"
              f"{columns[5]:10.0f}")  # fmt: skip
    print(f"\n{fast} against the slow way, MB/s: {_ratios(rounds, fast, slow, 'seconds')}")
    print(f"                       MB per CPU s: {_ratios(rounds, fast, slow, 'cpu_seconds')}")


def _show_workers(rounds: list[Round]) -> None:
    """`seconds` are those of data prep, `process` those of the whole process; memory is that of all processes."""
    first, *others = rounds[0]
    _show_corpus(rounds, first)
    print(f"{'':12}{'seconds':>9}{'process':>9}{'CPU s':>9}{'MB/s':>9}{'peak MiB':>10}")
    for name in rounds[0]:
        runs = [measured[name] for measured in rounds]
        seconds, process, cpu = (
            statistics.median(run[key] for run in runs) for key in ("seconds", "process_seconds", "cpu_seconds")
        )
        peak = max(run["pss_mib"] for run in runs)
        print(f"{name:12}{seconds:9.2f}{process:9.2f}{cpu:9.2f}{runs[0]['bytes'] / 1e6 / seconds:9.1f}{peak:10.0f}")
    for name in others:
        print(f"{name} against {first}: {_ratios(rounds, name, first, 'seconds', 2)}; "
              f"the whole process {_ratios(rounds, name, first, 'process_seconds', 2)}")  # fmt: skip


def _show_corpus(rounds: list[Round], name: str) -> None:
    fast = rounds[0][name]
    print(f"\n{fast['bytes'] / 1e6:.0f} MB, {fast['conversations']:,} conversations kept, median sequence "
          f"{fast['median']:,} tokens, packs {fast['fill']:.2%} full; medians of {len(rounds)} rounds")  # fmt: skip


def _ratios(rounds: list[Round], one: str, other: str, seconds: str, digits: int = 1) -> str:
    ratios = [
        (measured[one]["bytes"] / measured[one][seconds]) / (measured[other]["bytes"] / measured[other][seconds])
        for measured in rounds
    ]
    return f"{statistics.median(ratios):.{digits}f}x ({', '.join(f'{ratio:.{digits}f}' for ratio in ratios)})"


def _show_stages(measured: dict[str, Any]) -> None:
    seconds, size = measured["stages"], measured["bytes"] / 1e6
    print(f"\nstages alone, CPU seconds ({measured['sequences']:,} sequences, {measured['tokens']:,} tokens)")
    for name, spent, share in _shares(seconds):
        print(f"  {name:12}{spent:8.2f} s {share:6.1%} {size / max(spent, 1e-9):10.0f} MB/s")
    rendering = sum(seconds[stage] for stage in ("json", "plain rows", "parse", "hash", "render"))
    print(f"bounds: encoding alone {measured['characters'] / 1e6 / seconds['encode']:.0f} M characters/s, "
          f"from JSON to rendered text alone {size / rendering:.0f} MB/s")  # fmt: skip


def _shares(seconds: dict[str, float]) -> Iterator[tuple[str, float, float]]:
    total = sum(seconds.values())
    return ((name, spent, spent / total) for name, spent in seconds.items())


MEASURES = {"fast": measure_fast, "slow": measure_slow, "stages": measure_stages}

if __name__ == "__main__":
    main()
