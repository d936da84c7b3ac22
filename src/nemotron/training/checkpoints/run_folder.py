"""Where a run writes, what it resumes from, and how far it has come: looked at once, and handed on."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nemotron.errors import UserError
from nemotron.training.checkpoints.reader import RUN_RECORD, latest_iteration
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
    """Iterations in the newest complete checkpoint there; 0 when there is none."""
    newest: Path | None
    """Its `iter_*` folder; None when there is none."""
    record: dict[str, Any]
    """What identifies the run that saved it (run_record.py); empty when there is none, or it is not one of ours."""

    @property
    def is_own(self) -> bool:
        """Whether the run continues from its own checkpoints."""
        return self.resume_from == self.checkpoints

    def refreshed(self) -> "RunFolder":
        """Look again, after training."""
        return _look_at(self.output, self.checkpoints, self.load)


def find_run_folder(config: SftConfig) -> RunFolder:
    """Find out where a run writes and what it resumes from."""
    output = Path(config.run.output_dir).absolute()
    checkpoints = Path(config.checkpoint.get("save") or output / "checkpoints").absolute()
    load = config.checkpoint.get("load")
    return _look_at(output, checkpoints, None if load is None else Path(load).absolute())


def claim_run(run: RunFolder, config: SftConfig, data: PreparedData) -> None:
    """Write run.json into the output folder, and next to the checkpoints if these are elsewhere.

    A folder without a checkpoint is anybody's; one with a checkpoint keeps its record.
    """
    if run.is_own and run.finished and (run.output / RUN_RECORD).is_file():
        return
    # The export reads where the model's config and the checkpoints are; a refusal to continue says where the data was.
    where = {"hf_model": config.recipe.hf_model, "checkpoints": str(run.checkpoints), "output_dir": str(run.output)}
    record = {**where, "data_from": data.whence, **identify_run(config, data)}
    write_record(run.output / RUN_RECORD, record)
    if run.output not in run.checkpoints.parents:
        write_record(run.checkpoints / RUN_RECORD, record)


def finished_iterations(checkpoints: Path) -> int:
    """Read the iteration of the newest complete checkpoint, 0 when there is none.

    Megatron writes the tracker file last (megatron/bridge/training/checkpointing.py), so a save that was cut short does
    not count.
    """
    try:
        return int((checkpoints / "latest_checkpointed_iteration.txt").read_text().strip())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return 0


def read_records(path: Path) -> list[dict[str, Any]]:
    """Read the objects of a JSON-lines file; none when it is absent."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    # Without its newline the last line is still being written.
    return [json.loads(line) for line in lines[:-1] if line.strip()]


def _look_at(output: Path, checkpoints: Path, load: Path | None) -> RunFolder:
    resume_from, finished = checkpoints, finished_iterations(checkpoints)
    if load is not None and not finished:
        resume_from, finished = load, finished_iterations(load)
    newest = _newest(resume_from) if finished else None
    record = {} if newest is None else read_record(newest, output)
    return RunFolder(output, checkpoints, load, resume_from, finished, newest, record)


def _newest(checkpoints: Path) -> Path | None:
    """The folder that the tracker file names; None when it is gone, which checks/continuation.py refuses."""
    try:
        return latest_iteration(checkpoints)
    except UserError:
        return None
