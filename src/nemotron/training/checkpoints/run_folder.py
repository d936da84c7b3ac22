"""Find where a run writes, what it resumes from, and how far it is.

This is read once and passed on.
"""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from nemotron.atomic_files import write_text
from nemotron.errors import UserError
from nemotron.folder_lock import Holder, find_holder, sole_writer
from nemotron.training.checkpoints.newest import Newest, Skipped, find_iteration, find_newest, is_iteration_dir, repair
from nemotron.training.checkpoints.reader import (
    RUN_RECORD,
    base_model_of,
    count_unreadable,
    read_json,
    read_records,
    record_of,
    run_config,
    run_of,
)
from nemotron.training.checkpoints.run_record import identify_run, restore_record
from nemotron.training.config import SftConfig
from nemotron.training.prepared_data import PreparedData


@dataclass(frozen=True)
class RunFolder:
    """A snapshot of the folders of a run. All paths are absolute."""

    output: Path
    """run.output_dir: metrics, logs, the config, and by default the checkpoints."""
    checkpoints: Path
    """Where the run saves: checkpoint.save, or `checkpoints` in the output folder."""
    load: Path | None
    """checkpoint.load: another run's checkpoints, to resume from until this run has its own."""
    resume_from: Path
    """The folder of checkpoints that the run resumes from, if it has one."""
    finished: int
    """Iterations in the newest complete checkpoint there; 0 without one."""
    newest: Path | None
    """The `iter_*` folder of that checkpoint, or None."""
    record: dict[str, Any]
    """Identity of the run that saved it (run_record.py); empty without one, or if the run is not ours."""
    identity: dict[str, Any] = field(default_factory=dict)
    """Identity of this run; empty if its data is not known."""
    saved: dict[str, Any] = field(default_factory=dict)
    """The config that the newest checkpoint was saved with; empty without one."""
    base: Path | None = None
    """The `iter_*` folder of the base model, if the newest checkpoint has adapters; None if it is a whole model."""
    lost_base: UserError | None = None
    """Why the base model is missing."""
    metrics: list[dict[str, Any]] = field(default_factory=list)
    """The records of metrics.jsonl of the run that saved the newest checkpoint."""
    unreadable: int = 0
    """Number of lines in that file that are not records."""
    tested: frozenset[int] = frozenset()
    """Iterations after which this run has evaluated the test split."""
    skipped: tuple[Skipped, ...] = ()
    """Checkpoints there that are skipped, newest first."""
    own: Newest = Newest(None, 0)  # noqa: RUF009
    """The newest checkpoint in `checkpoints`, whether or not the run resumes from it."""
    holder: Holder | None = None
    """The process that is training in one of these folders."""
    step: int | None = None
    """checkpoint.ckpt_step: the iteration to resume from, if it is not the newest."""

    @property
    def is_own(self) -> bool:
        """Whether the run resumes from its own checkpoints."""
        return self.resume_from == self.checkpoints

    @property
    def load_from(self) -> Path:
        """The path that Megatron loads.

        It is the folder, or one checkpoint in it if the trackers may name another.
        """
        if self.newest is None or self.newest.name == "release" or (self.is_own and self.step is None):
            return self.resume_from
        return self.newest

    def count_finished(self) -> int:
        """Read the number of iterations in the newest checkpoint again, after training."""
        own = find_newest(self.checkpoints)
        return self.finished if own.folder is None else own.iteration


def find_run_folder(config: SftConfig, data: PreparedData | None = None) -> RunFolder:
    """Find where a run writes, what it resumes from, and what identifies both runs.

    Args:
        config: The training config.
        data: The packs; None if they are not known, which leaves `identity` empty.
    """
    output, checkpoints = Path(config.run.output_dir).absolute(), _saves_to(config)
    load, step = other_run(config), config.checkpoint.get("ckpt_step")
    resume_from = checkpoints
    look = find_newest if step is None else partial(find_iteration, step=step)
    newest = own = look(checkpoints) if load is None else find_newest(checkpoints)
    if load is not None and own.folder is None:
        resume_from = load
        newest = look(resume_from)
        if is_iteration_dir(resume_from):
            resume_from = resume_from.parent
    run = RunFolder(
        output=output,
        checkpoints=checkpoints,
        load=load,
        resume_from=resume_from,
        finished=newest.iteration,
        # A checkpoint of Megatron-LM without iterations cannot be resumed.
        newest=newest.folder if newest.iteration else None,
        record={},
        identity={} if data is None else identify_run(config, data),
        tested=frozenset(record["iteration"] for record in read_records(output / "test.jsonl")),
        skipped=newest.skipped,
        own=own,
        holder=find_holder(output) or find_holder(checkpoints),
        step=step,
    )
    return run if run.newest is None else _with_saved(run, run.newest)


def _with_saved(run: RunFolder, newest: Path) -> RunFolder:
    """Add what the checkpoint to resume from records about itself and its run."""
    saved, base, lost_base = run_config(newest), None, None
    try:
        base = base_model_of(newest)
    except UserError as error:
        lost_base = error
    metrics = ((run.output if run.is_own else run_of(newest)) or run.output) / "metrics.jsonl"
    return replace(
        run,
        saved=saved,
        base=base,
        lost_base=lost_base,
        metrics=read_records(metrics),
        unreadable=count_unreadable(metrics),
        record=restore_record(record_of(newest) or read_json(run.output / RUN_RECORD), saved),
    )


def other_run(config: SftConfig) -> Path | None:
    """Return the absolute path of checkpoint.load, unless the run saves there itself.

    With Megatron, that means to resume, or to start a new run if there is no checkpoint yet.
    """
    load = config.checkpoint.get("load")
    if load is None or Path(load).resolve() == _saves_to(config).resolve():
        return None
    return Path(load).absolute()


def _saves_to(config: SftConfig) -> Path:
    return Path(config.checkpoint.get("save") or Path(config.run.output_dir) / "checkpoints").absolute()


@contextlib.contextmanager
def hold(run: RunFolder) -> Iterator[RunFolder]:
    """Lock a run's folders, across nodes, for the duration of the `with` block.

    Inside, Megatron loads exactly the checkpoint that was found, and run.json identifies the run.

    Yields:
        The run, without skipped checkpoints.

    Raises:
        UserError: Another run uses one of the folders, or has used it since `run` was read.
    """
    with contextlib.ExitStack() as held:
        held.enter_context(sole_writer(run.output, "run.output_dir"))
        if run.checkpoints != run.output:
            held.enter_context(sole_writer(run.checkpoints, "checkpoint.save"))
        if run.step is None and find_newest(run.checkpoints) != run.own:
            raise UserError(f"Another run has just ended in {run.output}.", "Run the same command again.")
        if run.own.folder is not None or run.own.skipped:
            repair(run.checkpoints, run.own)
        # A folder without a checkpoint may be taken; one with a checkpoint keeps its record. The record is kept twice,
        # because one copy may be damaged, or missing after checkpoints were copied.
        copies = [run.output / RUN_RECORD, run.checkpoints / RUN_RECORD]
        known = [read_json(copy) for copy in copies]
        record = {"checkpoints": str(run.checkpoints), "output_dir": str(run.output), **run.identity}
        if run.is_own and run.finished:
            record = known[0] or known[1] or record
        for copy, there in zip(copies, known, strict=True):
            if there != record:
                write_text(copy, json.dumps(record, indent=2) + "\n")
        yield replace(run, skipped=(), own=replace(run.own, skipped=()))


def count_finished(checkpoints: Path) -> int:
    """Read the number of iterations in the newest complete checkpoint; 0 without one."""
    return find_newest(checkpoints).iteration
