"""Find where a run writes, what it resumes from, and how far it is.

This is read once and passed on.
"""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nemotron.atomic_files import write_text
from nemotron.errors import UserError
from nemotron.folder_lock import Holder, find_holder, sole_writer, wait_until_free
from nemotron.training.checkpoints.initial_weights import StartingPoint
from nemotron.training.checkpoints.newest import Newest, Skipped, base_model_of, find_newest, repair
from nemotron.training.checkpoints.reader import (
    RUN_RECORD,
    count_unreadable,
    read_json,
    read_records,
    record_of,
    run_of,
)
from nemotron.training.checkpoints.run_record import identify_run, restore_record
from nemotron.training.config import SftConfig
from nemotron.training.prepared_data import PreparedData
from nemotron.training.ranks import is_first, is_first_here


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
    """What identifies this run; empty where its data or its start is not known."""
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

    def look_again(self) -> Newest:
        """Look again at the newest checkpoint to continue from, after training."""
        own = find_newest(self.checkpoints)
        return own if own.folder is not None else Newest(self.newest, self.finished)

    def count_finished(self) -> int:
        """Read the number of iterations in the newest checkpoint again, after training."""
        return self.look_again().iteration


def find_run_folder(
    config: SftConfig, data: PreparedData | None = None, start: StartingPoint | None = None
) -> RunFolder:
    """Find where a run writes, what it resumes from, and what identifies both runs.

    Args:
        config: The training config.
        data: The packs.
        start: What the run starts from. Where it or the data is not known, `identity` is empty.
    """
    output, checkpoints, load = Path(config.run.output_dir).absolute(), config.saves_to, config.other_run
    step, resume_from = config.checkpoint.get("ckpt_step"), checkpoints
    newest = own = find_newest(checkpoints, step if load is None else None)
    if load is not None and own.folder is None:
        newest = find_newest(load, step)
        resume_from = load.parent if newest.includes(load) else load
    # A checkpoint of Megatron-LM without iterations cannot be resumed.
    folder, base, lost_base = newest.folder if newest.iteration else None, None, None
    if folder is not None:
        try:
            base = base_model_of(folder, newest.saved)
        except UserError as error:
            lost_base = error
    saved_by = output if folder is None or resume_from == checkpoints else run_of(folder) or output
    recorded = {} if folder is None else record_of(folder) or read_json(output / RUN_RECORD)
    return RunFolder(
        output=output,
        checkpoints=checkpoints,
        load=load,
        resume_from=resume_from,
        finished=newest.iteration,
        newest=folder,
        saved={} if folder is None else newest.saved,
        base=base,
        lost_base=lost_base,
        metrics=[] if folder is None else read_records(saved_by / "metrics.jsonl"),
        unreadable=0 if folder is None else count_unreadable(saved_by / "metrics.jsonl"),
        tested=frozenset(record["iteration"] for record in read_records(output / "test.jsonl")),
        identity={} if data is None or start is None else identify_run(config, data, start),
        record={} if folder is None else restore_record(recorded, newest.saved),
        skipped=newest.skipped,
        own=own,
        holder=find_holder(output) or find_holder(checkpoints),
        step=step,
    )


@contextlib.contextmanager
def hold(run: RunFolder, minutes: int = 0) -> Iterator[RunFolder]:
    """Lock a run's folders, across nodes, for the duration of the `with` block.

    Inside, Megatron loads exactly the checkpoint that was found, and run.json identifies the run. The first rank locks
    them. The others wait at the end until it has recorded and exported the model: if they left, its job would end
    (torchrun waits 300 s for ranks of other nodes, and srun as long as its `--wait` says).

    Args:
        run: The run's folders.
        minutes: How long the other ranks wait at most (convert_to_hf.timeout_minutes).

    Yields:
        The run, without skipped checkpoints.

    Raises:
        UserError: Another run uses one of the folders, or has used it since `run` was read.
    """
    if not is_first():
        yield run
        holder = wait_until_free(run.output, 60 * minutes)
        if holder is not None and is_first_here():
            print(
                f"After convert_to_hf.timeout_minutes={minutes} this node no longer waits for the export by {holder}."
            )
        return
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
