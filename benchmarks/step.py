"""What our training step costs over Megatron-Bridge's own.

    python benchmarks/step.py [--packs 4] [--pack-size 1024] [--pairs 20] [key=value ...]
    torchrun --nproc-per-node=8 benchmarks/step.py --config my.yaml --pack-size 4096 --packs 64

Both steps train in one run, turn about, on one and the same global batch, so that they meet the same weights' shapes,
clocks and neighbours. Which goes first alternates. Weights are random and no checkpoint is read or written.
"""

import argparse
import contextlib
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import median
from typing import Any

TOKENIZER = Path(__file__).parents[1] / "config" / "data_prep" / "tiny" / "tokenizer"
WARM_UP_PAIRS = 2
LOOKS = ("aten::_local_scalar_dense", "aten::nonzero")
"""What `item()`, `if tensor` and indexing with a mask come down to."""
COPIES = frozenset({"tolist", "cpu", "numpy", "__array__"})
"""Methods of tensors that copy to the host."""


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="tiny", help="training config: a name or a file")
    parser.add_argument("--packs", type=int, default=4, help="packs of the global batch")
    parser.add_argument("--pack-size", type=int, default=1024, help="tokens of a pack")
    parser.add_argument("--conversation", type=int, default=300, help="mean tokens of a conversation; half supervised")
    parser.add_argument("--pairs", type=int, default=20, help="steps of each kind that are measured")
    parser.add_argument("--count", action="store_true", help="count operations instead of taking the time")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings of the training config")
    arguments = parser.parse_intermixed_args()
    with tempfile.TemporaryDirectory() as folder:
        taken = run(arguments, Path(folder))
    if int(os.environ["RANK"]) == 0:
        (report_operations if arguments.count else report)(taken, arguments)


def run(arguments: argparse.Namespace, folder: Path) -> dict[str, list["Taken"]]:
    """Measure the seconds of each step, by kind: `ours` and `stock`."""
    logging.disable(logging.WARNING)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # as torchrun does
    from nemotron.config import load_config
    from nemotron.training.backend import choose_backend, use_backend
    from nemotron.training.checkpoints.initial_weights import find_start
    from nemotron.training.checkpoints.run_folder import find_run_folder
    from nemotron.training.config import SftConfig
    from nemotron.training.counts import count_run
    from nemotron.training.plan import make_plan
    from nemotron.training.prepared_data import DataTokenizer, PreparedData

    settings = [
        f"run.output_dir={folder}",
        f"train.train_iters={2 * (arguments.pairs + WARM_UP_PAIRS)}",
        f"train.global_batch_size={arguments.packs}",
        "loss.stages=[{average: sample}]",
        "scheduler.lr_warmup_iters=0",
        "dataset.num_workers=0",
    ]
    loaded = load_config(arguments.config, [*settings, *arguments.overrides], schema=SftConfig)
    write_packs(folder / "train", arguments)
    tokenizer = DataTokenizer(str(TOKENIZER))
    data = PreparedData("benchmark", folder, {"train": arguments.packs}, arguments.pack_size, tokenizer=tokenizer)
    run, start = find_run_folder(loaded.config), find_start(loaded.config)
    plan = make_plan(loaded.config, count_run(loaded.config, data), data, start, run)
    with use_backend(choose_backend(loaded.config.run.backend).name) as adapt, contextlib.redirect_stdout(None):
        from megatron.bridge.training.pretrain import pretrain

        from nemotron.training.objective.forward_step import TwoStageStep
        from nemotron.training.recipe.build import build_recipe

        container = build_recipe(loaded.config, plan, data, run, loaded.origins, None).container
        adapt(container)
        container.checkpoint.save = container.checkpoint.load = None
        container.checkpoint.async_save = False
        step, timer = turn_about(TwoStageStep(plan.schedule), arguments.count)
        pretrain(container, step, callbacks=[timer])
    return {kind: steps[WARM_UP_PAIRS:] for kind, steps in timer.taken.items()}


def write_packs(split: Path, arguments: argparse.Namespace) -> None:
    """Packs of random tokens, in the format of data prep. Every rank writes its own copy, the same one."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    random = np.random.default_rng(0)
    rows = []
    for _ in range(arguments.packs):
        starts, end = [], 0
        while end < arguments.pack_size - 16:
            starts.append(end)
            end = min(end + 16 + int(random.exponential(arguments.conversation - 16)), arguments.pack_size)
        mask = np.zeros(end, dtype=np.uint8)
        for start, stop in zip(starts, [*starts[1:], end], strict=True):
            mask[(start + stop) // 2 : stop - 1] = 1
        rows.append({"input_ids": random.integers(12, 2048, end), "loss_mask": mask, "seq_start_id": starts})
    split.mkdir()
    pq.write_table(pa.Table.from_pylist(rows), split / "shard_000000.parquet")


@dataclass
class Taken:
    """Seconds that one training step took."""

    clock: float = 0.0
    computing: float = 0.0
    """Of this process alone, which other work on the machine does not count into."""
    operations: int = 0
    """That torch was asked for, if they were counted (which takes its time)."""
    looks: int = 0
    """How often a tensor's numbers were looked at, if that was counted: on a GPU each look waits for it."""
    copies: int = 0
    """How often a tensor was copied to the host, if that was counted, which waits as well."""
    outside: float = 0.0
    """In the forward step and its loss function, the model's own forward pass left out: all that the two steps do
    differently, apart from what a wait for the device costs."""


def turn_about(ours: Any, count: bool) -> tuple[Any, Any]:
    """A forward step that is ours in one iteration and Megatron-Bridge's in the next, and a callback that times it, or
    counts its operations."""
    import torch
    from megatron.bridge.training.callbacks import Callback, CallbackContext
    from megatron.bridge.training.gpt_step import forward_step as stock
    from megatron.bridge.training.state import GlobalState

    def now() -> tuple[float, float]:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter(), time.process_time()

    class Timer(Callback):
        def __init__(self) -> None:
            self.taken: dict[str, list[Taken]] = {"ours": [], "stock": []}
            self.step = Taken()
            self._started = (0.0, 0.0)
            self._entered = 0.0
            self._profile = contextlib.ExitStack()

        def on_train_start(self, context: CallbackContext) -> None:
            for chunk in context.model:
                chunk.register_forward_pre_hook(self._enter)
                chunk.register_forward_hook(self._leave)

        def on_train_step_start(self, context: CallbackContext) -> None:
            self.step = Taken()
            if count:
                self._profile.enter_context(counting(self.step))
            self._started = now()

        def on_train_step_end(self, context: CallbackContext) -> None:
            self.step.clock, self.step.computing = (e - s for e, s in zip(now(), self._started, strict=True))
            self._profile.close()
            self.taken[kind_of(context.state.train_state.step)].append(self.step)

        def _enter(self, *_: object) -> None:
            self._entered = time.perf_counter()

        def _leave(self, *_: object) -> None:
            self.step.outside -= time.perf_counter() - self._entered

        def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any) -> Any:
                started = time.perf_counter()
                try:
                    return function(*arguments)
                finally:
                    self.step.outside += time.perf_counter() - started

            return call

    timer = Timer()

    def step(state: GlobalState, data_iterator: Any, model: Any, return_schedule_plan: bool = False) -> Any:
        chosen = ours if kind_of(state.train_state.step) == "ours" else stock
        output, loss = timer.timed(chosen)(state, data_iterator, model, return_schedule_plan)
        return output, timer.timed(loss)

    return step, timer


@contextlib.contextmanager
def counting(step: Taken) -> Iterator[None]:
    """Count the operations asked for inside, those that others are made of left out."""
    import torch
    from torch.overrides import TorchFunctionMode

    class Copies(TorchFunctionMode):
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            name = getattr(function, "__name__", "")
            to_host = name == "to" and "cpu" in map(str, [*args[1:], *(kwargs or {}).values()])
            step.copies += name in COPIES or to_host
            return function(*args, **(kwargs or {}))

    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile, Copies():
        yield
    events = [event for event in profile.events() or [] if event.name.startswith("aten::")]
    step.looks = sum(event.name in LOOKS for event in events)
    step.operations = sum(not (e.cpu_parent and e.cpu_parent.name.startswith("aten::")) for e in events)


def report_operations(taken: dict[str, list[Taken]], arguments: argparse.Namespace) -> None:
    """Print what the steps asked for; every step of a kind asks for about as much."""
    print(f"{arguments.packs} packs of {arguments.pack_size} tokens")
    for what in ("operations", "looks", "copies"):
        ours, stock = (median(getattr(step, what) for step in taken[kind]) for kind in ("ours", "stock"))
        print(f"{what:10} {ours:,.0f}, stock {stock:,.0f}")


def kind_of(iteration: int) -> str:
    """ours, stock, stock, ours, ..."""
    return "ours" if iteration % 4 in (0, 3) else "stock"


def report(taken: dict[str, list[Taken]], arguments: argparse.Namespace) -> None:
    """Print what both took, and the ratio within each pair of steps: least, median, most."""
    ranks = int(os.environ["WORLD_SIZE"])
    print(
        f"{len(taken['ours'])} pairs of steps; {arguments.packs} packs of {arguments.pack_size} tokens; {ranks} rank(s)"
    )
    print("                        ours      stock     ours/stock: min    median   max")
    for field in (field for field in fields(Taken) if field.type is float):
        ours, stock = ([getattr(step, field.name) for step in taken[kind]] for kind in ("ours", "stock"))
        ratios = sorted(a / b for a, b in zip(ours, stock, strict=True))
        print(
            f"{field.name:12} median {median(ours):9.4f} s {median(stock):9.4f} s"
            f"{ratios[0]:18.3f} {median(ratios):9.3f} {ratios[-1]:8.3f}"
        )
    more = median(step.outside for step in taken["ours"]) - median(step.outside for step in taken["stock"])
    share = more / median(step.clock for step in taken["stock"])
    print(f"ours does {1000 * more:.2f} ms more outside the model per step: {100 * share:.2f} % of the stock step")


if __name__ == "__main__":
    main()
