"""Measure how exactly each parallel layout trains, and print the table of docs/explanation/exactness.md.

python -m tests.training.exactness [--all]
python -m tests.training.exactness --backend torch       # on one GPU: the layouts of one rank
"""

import argparse
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from tests.training.exactness.compare import Reference, float32_floor, measure, read, table
from tests.training.exactness.launch import run_in_new_process
from tests.training.exactness.layouts import (
    ADAPTER_LAYOUTS,
    CONTROL,
    LAYOUTS,
    MORE_ADAPTER_LAYOUTS,
    MORE_LAYOUTS,
    Layout,
)
from tests.training.exactness.rank import BACKEND, ON


def main() -> None:
    """Run the layouts, compare, print."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m tests.training.exactness", description=__doc__, formatter_class=raw)
    parser.add_argument("--all", action="store_true", help="also layouts that combine two kinds of parallelism")
    parser.add_argument("--backend", choices=list(ON), default="cpu", help="what trains (default: %(default)s)")
    arguments = parser.parse_args()
    os.environ[BACKEND] = arguments.backend
    layouts = [*LAYOUTS, *(MORE_LAYOUTS if arguments.all else [])]
    layouts += [*ADAPTER_LAYOUTS, *(MORE_ADAPTER_LAYOUTS if arguments.all else [])]
    if arguments.backend != "cpu":
        layouts = [layout for layout in layouts if layout.ranks == 1 and not layout.adapters]
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as directory:
        folders = run(arguments.backend, [*layouts, CONTROL], Path(directory))
        reference = Reference()
        shapes = read(CONTROL, folders[CONTROL])["token"].shapes
        rows = [(layout.name, measure(layout, folder, reference)) for layout, folder in folders.items()]
        print(table([("plain torch, float32", float32_floor(reference, shapes)), *rows]))
        print()
        for name, difference in rows:
            worst = {stage: difference.worst(stage)[1] for stage in difference.gradients}
            print(f"{name}: {worst}; replicas differ by {difference.replicas:.1e}")


def run(backend: str, layouts: list[Layout], folder: Path) -> dict[Layout, Path]:
    """Run the layouts; returns the folder that has the records of each."""
    if backend == "cpu":
        run_in_new_process(layouts, folder)
        return dict.fromkeys(layouts, folder)
    folders = {layout: folder / str(number) for number, layout in enumerate(layouts)}
    with ThreadPoolExecutor() as pool:  # each in a process of its own
        list(pool.map(lambda item: run_in_new_process([item[0]], item[1]), folders.items()))
    return folders


if __name__ == "__main__":
    main()
