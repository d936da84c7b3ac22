"""Find where a run writes, what it resumes from, and how far it is.

This is read once and passed on.
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nemotron.errors import UserError
from nemotron.files.folder_lock import Holder, find_holder
from nemotron.files.regular_files import read_bytes
from nemotron.secrets import mask_values
from nemotron.training.checkpoints.checkpoint import RELEASE, Checkpoint
from nemotron.training.checkpoints.initial_weights import StartingPoint, base_model_of
from nemotron.training.checkpoints.newest import Newest, Skipped, find_in_turn, find_newest
from nemotron.training.checkpoints.run_record import (
    RUN_RECORD,
    count_unreadable,
    find_saving_run,
    read_json,
    read_records,
)
from nemotron.training.config import PeftConfig, SftConfig
from nemotron.training.prepared_data import PreparedData

IDENTITY = ("model", "data", "pack_size", "adapters", "start")
"""What must not change when a run is resumed."""


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
    newest: Checkpoint | None
    """That checkpoint, or None."""
    record: dict[str, Any]
    """Identity of the run that saved it (`identify_run`); empty without one, or if the run is not ours."""
    identity: dict[str, Any] = field(default_factory=dict)
    """What identifies this run; empty where its data or its start is not known."""
    base: Checkpoint | None = None
    """The base model, if the newest checkpoint has adapters; None if it is a whole model."""
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
    def saved(self) -> dict[str, Any]:
        """The config that the newest checkpoint was saved with; empty without one."""
        return {} if self.newest is None else self.newest.saved

    @property
    def load_from(self) -> Path:
        """The path that Megatron loads.

        It is the folder, or one checkpoint in it if the trackers may name another.
        """
        if self.newest is None or self.newest.folder.name == RELEASE or (self.is_own and self.step is None):
            return self.resume_from
        return self.newest.folder

    def look_again(self) -> Newest:
        """Look again at the newest checkpoint to continue from, after training."""
        own = find_newest(self.checkpoints)
        if own.folder is not None or self.newest is None:
            return own
        return Newest(self.newest, self.finished)

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
    identity = {} if data is None or start is None else identify_run(config, data, start)
    output, checkpoints, load = Path(config.run.output_dir).absolute(), config.saves_to, config.other_run
    step, resume_from = config.checkpoint.get("ckpt_step"), checkpoints
    found = find_in_turn([checkpoints] if load is None else [checkpoints, load], step)
    own, newest = found[0], found[-1]
    if load is not None and own.folder is None:
        resume_from = load.parent if newest.includes(load) else load
    # A checkpoint of Megatron-LM without iterations cannot be resumed.
    resumed, base, lost_base = newest.checkpoint if newest.iteration else None, None, None
    if resumed is not None:
        try:
            base = base_model_of(resumed)
        except UserError as error:
            lost_base = error
    saved_by, record = output, dict[str, Any]()
    if resumed is not None:
        folder, record = find_saving_run(resumed.folder)
        saved_by = output if resume_from == checkpoints else folder or output
        record = record or read_json(output / RUN_RECORD)
    if not record and resumed is not None and resumed.saved and resumed.saved.get("peft") is None:
        record = {"adapters": None}  # that much the saved config shows
    return RunFolder(
        output=output,
        checkpoints=checkpoints,
        load=load,
        resume_from=resume_from,
        finished=newest.iteration,
        newest=resumed,
        base=base,
        lost_base=lost_base,
        metrics=[] if resumed is None else read_records(saved_by / "metrics.jsonl"),
        unreadable=0 if resumed is None else count_unreadable(saved_by / "metrics.jsonl"),
        tested=frozenset(record["iteration"] for record in read_records(output / "test.jsonl")),
        identity=identity,
        record=record,
        skipped=newest.skipped,
        own=own,
        holder=find_holder(output) or find_holder(checkpoints),
        step=step,
    )


def identify_run(config: SftConfig, data: PreparedData, start: StartingPoint) -> dict[str, Any]:
    """Collect what identifies a run, and where its model and its data are.

    `IDENTITY` lists what must not change. The export reads the place of the config, and errors name the data. A
    starting artifact is identified by its folder, because an alias such as `latest` moves. If it is not on this
    machine, it is left out.
    """
    named = config.recipe.random_start if start.checkpoint is None else str(start.checkpoint.resolve())
    record = {
        "hf_model": config.recipe.hf_model,
        "data_from": data.whence,
        "model": _identify_model(config.recipe.hf_model),
        "data": data.run_hash or data.reference,
        "pack_size": data.pack_size,
        "adapters": _describe_adapters(config.peft),
        **({} if start.unresolved else {"start": named}),
        "start_named": config.run.model,
    }
    return mask_values(record)  # in the form that is written and compared


def _identify_model(hf_model: str) -> str:
    """Return a folder's name and the digest of its config; an id is unchanged."""
    file = Path(hf_model) / "config.json"
    if not file.is_file():
        return hf_model
    return f"{Path(hf_model).name} (config {hashlib.sha256(read_bytes(file)).hexdigest()[:12]})"


def _describe_adapters(peft: PeftConfig | None) -> str | None:
    if peft is None:
        return None
    return f"{peft.scheme}, dim {peft.dim}, alpha {peft.alpha}, on {' '.join(sorted(peft.target_modules))}"
