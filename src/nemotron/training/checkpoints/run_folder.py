"""Where a run writes, what it resumes from, and how far it has come: looked at once, and handed on."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nemotron.errors import UserError
from nemotron.folder_lock import Holder, find_holder, sole_writer
from nemotron.training.checkpoints.newest import Newest, Skipped, find_newest, is_iteration_dir, repair
from nemotron.training.checkpoints.reader import RUN_RECORD, read_json
from nemotron.training.checkpoints.run_record import identify_run, read_record, write_record
from nemotron.training.config import SftConfig
from nemotron.training.prepared_data import PreparedData


@dataclass(frozen=True)
class RunFolder:
    """The folders of a run, as they are at one moment. All paths are absolute."""

    output: Path
    """run.output_dir: metrics, logs, the config; and the checkpoints, where nothing else is said."""
    checkpoints: Path
    """Where this run saves: checkpoint.save, or `checkpoints` in the output folder."""
    load: Path | None
    """checkpoint.load: another run's checkpoints, to continue from until this run has its own."""
    resume_from: Path
    """The folder of checkpoints that the run continues from, if there is one in it."""
    finished: int
    """Iterations in the newest whole checkpoint there; 0 when there is none."""
    newest: Path | None
    """Its `iter_*` folder; None when there is none."""
    record: dict[str, Any]
    """What identifies the run that saved it (run_record.py); empty when there is none, or it is not one of ours."""
    skipped: tuple[Skipped, ...] = ()
    """Checkpoints there that are passed over, newest first."""
    own: Newest = Newest(None, 0)  # noqa: RUF009
    """What `checkpoints` holds, whether or not the run continues from it."""
    holder: Holder | None = None
    """The process that trains in one of these folders now."""
    step: int | None = None
    """checkpoint.ckpt_step: the iteration to continue from, where it is not the newest."""

    @property
    def is_own(self) -> bool:
        """Whether the run continues from its own checkpoints."""
        return self.resume_from == self.checkpoints

    @property
    def load_from(self) -> Path:
        """What Megatron is given to load: the folder, or one checkpoint of it where its trackers may name another."""
        if self.newest is None or self.newest.name == "release" or (self.is_own and self.step is None):
            return self.resume_from
        return self.newest

    def refreshed(self) -> "RunFolder":
        """Look again, after training: at what is the newest then."""
        return _look_at(self.output, self.checkpoints, self.load, None)

    def repaired(self) -> "RunFolder":
        """Make the run's own folder of checkpoints hold what was found, for Megatron to load just that."""
        if self.own.folder is not None or self.own.skipped:
            repair(self.checkpoints, self.own)
        return replace(self, skipped=(), own=replace(self.own, skipped=()))


def find_run_folder(config: SftConfig) -> RunFolder:
    """Find out where a run writes and what it resumes from."""
    output = Path(config.run.output_dir).absolute()
    checkpoints = Path(config.checkpoint.get("save") or output / "checkpoints").absolute()
    load = config.checkpoint.get("load")
    step = config.checkpoint.get("ckpt_step")
    return _look_at(output, checkpoints, None if load is None else Path(load).absolute(), step)


@contextlib.contextmanager
def hold(run: RunFolder) -> Iterator[None]:
    """Keep other runs out of a run's folders, on every node, for the length of the `with` block.

    Raises:
        UserError: another run has one of them, or had it since `run` was looked at.
    """
    with contextlib.ExitStack() as held:
        held.enter_context(sole_writer(run.output, "run.output_dir"))
        if run.checkpoints != run.output:
            held.enter_context(sole_writer(run.checkpoints, "checkpoint.save"))
        if run.step is None and run.refreshed().own != run.own:
            raise UserError(f"Another run has just ended in {run.output}.", "Run the same command again.")
        yield


def claim_run(run: RunFolder, config: SftConfig, data: PreparedData) -> None:
    """Write run.json into the output folder and next to the checkpoints.

    A folder without a checkpoint is anybody's; one with a checkpoint keeps its record. It is kept twice: one of the two
    may be damaged, or left behind when the checkpoints are copied.
    """
    copies = [run.output / RUN_RECORD, run.checkpoints / RUN_RECORD]
    known = [read_json(copy) for copy in copies]
    # The export reads where the model's config and the checkpoints are; a refusal to continue says where the data was.
    where = {"hf_model": config.recipe.hf_model, "checkpoints": str(run.checkpoints), "output_dir": str(run.output)}
    record = {**where, "data_from": data.whence, **identify_run(config, data)}
    if run.is_own and run.finished:
        record = known[0] or known[1] or record
    for copy, there in zip(copies, known, strict=True):
        if there != record:
            write_record(copy, record)


def finished_iterations(checkpoints: Path) -> int:
    """Count the iterations in the newest whole checkpoint, 0 when there is none."""
    return find_newest(checkpoints).iteration


def read_records(path: Path) -> list[dict[str, Any]]:
    """Read the objects of a JSON-lines file of records; none when it is absent.

    A line that is not a record is left out: a machine that loses its power leaves NULs, a full disk half a line.
    """
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    # Without its newline the last line is still being written.
    return [record for record in map(_as_record, lines[:-1]) if record is not None]


def count_unreadable(path: Path) -> int:
    """Count the lines of a JSON-lines file that are no records, the last one left out."""
    if not path.exists():
        return 0
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
    return sum(_as_record(line) is None for line in lines)


def _as_record(line: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and isinstance(record.get("iteration"), int) else None


def _look_at(output: Path, checkpoints: Path, load: Path | None, step: int | None) -> RunFolder:
    own = find_newest(checkpoints, None if load is not None else step)
    resume_from, newest = checkpoints, own
    if load is not None and own.folder is None:
        resume_from, newest = load, find_newest(load, step)
        if is_iteration_dir(load):
            resume_from = load.parent
    # Of a checkpoint of Megatron-LM without iterations there is nothing to continue.
    folder = newest.folder if newest.iteration else None
    record = {} if folder is None else read_record(folder, output)
    holder = find_holder(output) or find_holder(checkpoints)
    return RunFolder(
        output, checkpoints, load, resume_from, newest.iteration, folder, record, newest.skipped, own, holder, step
    )
