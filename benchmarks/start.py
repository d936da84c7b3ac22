"""Where the time goes between the command and the first iteration of training.

    python benchmarks/start.py [--rounds 3] [key=value ...]

Trains the tiny model for one iteration, and prints CPU seconds and seconds of each phase. A first round, which compiles
byte code, is not measured.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PHASE = re.compile(r" *\d+ s  (.+)")
"""A line of reporting/startup.py."""
BYTECODE = Path(tempfile.gettempdir()) / "nemotron-benchmarks" / "bytecode"
TICKS = os.sysconf("SC_CLK_TCK")


class Moment(NamedTuple):
    """The beginning of a phase."""

    phase: str
    cpu: float
    """Seconds of the process and its finished children."""
    clock: float


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings of the training config")
    arguments = parser.parse_intermixed_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "WANDB_MODE": "disabled"}
        environment |= {"PYTHONPYCACHEPREFIX": str(BYTECODE), "PYTHONDONTWRITEBYTECODE": ""}
        command = [sys.executable, "-m", "nemotron", "super3"]
        subprocess.run([*command, "data", "prep", "sft", "-c", "tiny"], cwd=folder, env=environment, check=True)
        rounds = []
        for number in range(arguments.rounds + 1):
            settings = [f"run.output_dir=run-{number}", "train.train_iters=1", *arguments.overrides]
            rounds.append(list(follow([*command, "sft", "-c", "tiny", *settings], folder, environment)))
    print(f"{'phase':40} CPU s (median, least to most)   seconds")
    for number, moment in enumerate(rounds[1][:-1]):
        spans = [(r[number + 1].cpu - r[number].cpu, r[number + 1].clock - r[number].clock) for r in rounds[1:]]
        cpu, clock = zip(*spans, strict=True)
        print(f"{moment.phase:40}{median(cpu):6.2f} ({min(cpu):.2f} to {max(cpu):.2f}){median(clock):18.2f}")


def follow(command: list[str], folder: Path, environment: dict[str, str]) -> Iterator[Moment]:
    """Run a training command, and yield the moments at which its phases begin, and its end."""
    started = time.monotonic()
    running = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    yield Moment("Command, config and checks", 0.0, started)
    assert running.stderr is not None
    cpu, lines = 0.0, []
    for line in running.stderr:
        lines.append(line.decode())
        if found := PHASE.match(lines[-1]):
            cpu = cpu_of(running.pid)
            yield Moment(found[1], cpu, time.monotonic())
        elif lines[-1].startswith("Iteration 1"):
            cpu = cpu_of(running.pid)
            yield Moment("Evaluation, checkpoint, export, exit", cpu, time.monotonic())
    _, status, usage = os.wait4(running.pid, 0)
    if status:
        sys.exit("".join(lines))
    yield Moment("", usage.ru_utime + usage.ru_stime, time.monotonic())


def cpu_of(pid: int) -> float:
    """Return the CPU seconds of a process and its finished children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICKS


if __name__ == "__main__":
    main()
