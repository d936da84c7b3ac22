"""Measure what a person waits for, and write benchmarks/results/DATE-HOST.json.

    python -m benchmarks                                  # this tree
    python -m benchmarks --against ../older               # beside another checkout with its own .venv, interleaved
    python -m benchmarks --only "1 MB" --rounds 5
    python -m benchmarks --large                          # 572 MB, 1,000,000 rows, 10,000 files, 1,000 shards, too

Every run is a process of its own, after one that is not measured, which compiles byte code and fills caches. Trees are
interleaved, round by round, because machines drift; ratios are taken within a round, and medians over the rounds.
Memory is the proportional set size of the whole process tree, looked at ten times a second. Cases that are measured
one by one on a day are all in the day's file. How data prep compares with the slow way of the public recipe:
benchmarks/data_prep.py.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
from dataclasses import asdict
from datetime import date
from pathlib import Path

from benchmarks.cases import CASES, Case, folder_of
from benchmarks.measure import Measured, measure

ROOT = Path(__file__).resolve().parents[1]
Runs = dict[str, dict[str, list[Measured]]]
"""Case -> tree -> what each round measured."""


def main() -> None:
    """Measure, print a table, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", help="cases whose name holds this")
    parser.add_argument("--large", action="store_true", help="also what takes minutes")
    parser.add_argument("--against", type=Path, help="another checkout; with its own .venv, or run by this Python")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "nemotron-benchmarks")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    arguments = parser.parse_args()
    trees = {"here": (ROOT, sys.executable)}
    if arguments.against:
        other = arguments.against.resolve()
        own_python = other / ".venv/bin/python"
        trees["against"] = (other, str(own_python) if own_python.exists() else sys.executable)
    cases = [case for case in CASES if (arguments.large or not case.large) and (arguments.only or "") in case.name]
    if not cases:
        parser.error(f"no case is called {arguments.only!r}: {', '.join(case.name for case in CASES)}")
    runs: Runs = {case.name: {tree: [] for tree in trees} for case in cases}
    for case in cases:
        folder = folder_of(case, arguments.folder)
        for root, python in trees.values():
            if not case.large:
                _run(case, folder, root, python, arguments.folder)
        for _ in range(arguments.rounds):
            for tree, (root, python) in trees.items():
                runs[case.name][tree].append(_run(case, folder, root, python, arguments.folder))
        _show(case.name, runs[case.name])
    path = arguments.results / f"{date.today()}-{platform.node() or 'host'}.json"
    path.write_text(json.dumps(_record(runs, path), indent=1) + "\n")
    print(f"\n{path}")


def _run(case: Case, folder: Path, root: Path, python: str, cache: Path) -> Measured:
    environment = {
        "PYTHONPATH": str(root / "src"),
        # Each tree has its own: what another release remembers may have another form.
        "NEMOTRON_CACHE": str(cache / "cache" / str(root).strip("/").replace("/", "-")),
        "WANDB_MODE": "disabled",
        # Byte code is compiled once, as in any environment that is used twice.
        "PYTHONPYCACHEPREFIX": str(cache / "bytecode"),
        "PYTHONDONTWRITEBYTECODE": "",
    }
    command = [python, "-m", "nemotron", *case.arguments]
    if case.keeps:
        measure(command, folder, environment)  # whatever another tree left is not this one's
    else:
        shutil.rmtree(folder / "output", ignore_errors=True)
    return measure(command, folder, environment)


def _show(name: str, trees: dict[str, list[Measured]]) -> None:
    for tree, measured in trees.items():
        seconds, cpu = ([getattr(run, key) for run in measured] for key in ("seconds", "cpu_seconds"))
        memory = max(run.pss_mib for run in measured)
        print(f"{name if tree == 'here' else '  against':34}{statistics.median(seconds):8.2f} s"
              f"{statistics.median(cpu):8.2f} CPU s ({min(cpu):.2f} to {max(cpu):.2f}){memory:8.0f} MiB")  # fmt: skip
    if "against" in trees:
        ratios = _ratios(trees)
        print(f"{'  ratio of CPU seconds':34}{statistics.median(ratios):8.2f}x"
              f" ({', '.join(f'{ratio:.2f}' for ratio in ratios)})")  # fmt: skip


def _ratios(trees: dict[str, list[Measured]]) -> list[float]:
    pairs = zip(trees["here"], trees["against"], strict=True)
    return [here.cpu_seconds / other.cpu_seconds for here, other in pairs]


def _figures(run: Measured) -> dict[str, object]:
    """Return what was measured, without what the command printed: it names folders of this machine."""
    return {name: value for name, value in asdict(run).items() if name != "output"}


def _record(runs: Runs, path: Path) -> dict[str, object]:
    """Return what was measured, with the other cases of the file."""
    earlier = json.loads(path.read_text())["cases"] if path.exists() else {}
    command, load = ["python", "-m", "benchmarks", *sys.argv[1:]], os.getloadavg()[0]
    measured = {
        name: {
            "command": command,
            "load": load,
            "runs": {tree: [_figures(run) for run in measured] for tree, measured in trees.items()},
        }
        for name, trees in runs.items()
    }
    return {
        "machine": {"cpus": os.cpu_count(), "processor": platform.processor() or platform.machine()},
        "python": platform.python_version(),
        "cases": {**earlier, **measured},
    }


if __name__ == "__main__":
    main()
