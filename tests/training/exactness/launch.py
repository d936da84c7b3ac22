"""Runs layouts: Megatron is imported once, then each rank of each layout is a fork of this process.

A fork starts from the same untouched state whatever ran before it, and costs no import, which takes most of a minute.
"""

import logging
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from tests.training.exactness.batches import make_batches, write_parquet
from tests.training.exactness.layouts import ALL_LAYOUTS, Layout
from tests.training.exactness.rank import BACKEND, REPOSITORY, train


def run_in_new_process(layouts: Sequence[Layout], folder: Path) -> None:
    """Run layouts in `folder` from a process of its own, which has to fork before it computes anything.

    Every rank leaves rank<n>.pt and rank<n>.log in `folder/<layout>`. Raises subprocess.CalledProcessError when one
    fails; what it printed is on standard error.
    """
    command = [sys.executable, "-m", "tests.training.exactness.launch", str(folder), *(each.name for each in layouts)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    # Importing Megatron prints; what is worth reading is on standard error.
    subprocess.run(command, cwd=REPOSITORY, env=environment, stdout=subprocess.DEVNULL, check=True)


def run_layouts(layouts: Sequence[Layout], folder: Path) -> None:
    """Run each layout in `folder/<name>`, one after the other.

    Raises RuntimeError, with the end of the log, when a rank fails.
    """
    batches = make_batches()
    for name, batch in batches.items():
        write_parquet(batch, folder / "data" / name)
    for layout in layouts:
        batch, place, started = batches[layout.batch], folder / layout.name, time.perf_counter()
        place.mkdir()
        port = _free_port()
        ranks = []
        for rank in range(layout.ranks):
            environment = {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(layout.ranks),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
            }
            pid = os.fork()
            if pid == 0:
                _become_rank(environment, place / f"rank{rank}.log")
                _exit_after(train, layout, batch, folder / "data" / layout.batch, place)
            ranks.append(pid)
        _wait_for(ranks, layout, place)
        print(f"{layout.name}: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)


def run_on_gpu(layout: Layout, folder: Path) -> None:
    """Run a layout of one rank in this process: one that has seen a GPU cannot fork others that use it."""
    batch = make_batches()[layout.batch]
    write_parquet(batch, folder / "data")
    (folder / layout.name).mkdir()
    os.environ.update(RANK="0", LOCAL_RANK="0", WORLD_SIZE="1", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(_free_port()))
    train(layout, batch, folder / "data", folder / layout.name)


def _become_rank(environment: dict[str, str], log: Path) -> None:
    os.environ.update(environment)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(descriptor, stream.fileno())


def _exit_after(function: Callable[..., None], *arguments: object) -> NoReturn:
    """Call, then leave without running what the forked process's parent had registered for its own exit."""
    status = 1
    try:
        function(*arguments)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _wait_for(ranks: list[int], layout: Layout, place: Path) -> None:
    """Wait for all ranks; when one fails, end the others, which would wait for it."""
    running = dict(zip(ranks, range(len(ranks)), strict=True))
    failed: int | None = None
    while running:
        pid, status = os.wait()
        rank = running.pop(pid)
        if status and failed is None:
            failed = rank
            for other in running:
                os.kill(other, signal.SIGKILL)
    if failed is not None:
        log = (place / f"rank{failed}.log").read_text(errors="replace")
        raise RuntimeError(f"Rank {failed} of {layout.name!r} failed:\n{log[-4000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


if __name__ == "__main__":
    from nemotron.training import torch_layers

    logging.disable(logging.INFO)
    torch_layers.activate()
    chosen = [layout for layout in ALL_LAYOUTS if layout.name in sys.argv[2:]]
    if os.environ.get(BACKEND, "cpu") == "cpu":
        run_layouts(chosen, Path(sys.argv[1]))
    else:
        [only] = chosen
        run_on_gpu(only, Path(sys.argv[1]))
