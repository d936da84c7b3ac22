"""Lock the folders of a run while it trains."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace

from nemotron.errors import UserError
from nemotron.files.atomic_files import write_text
from nemotron.files.folder_lock import sole_writer, wait_until_free
from nemotron.training.checkpoints.newest import find_newest
from nemotron.training.checkpoints.repair import clear_names, repair
from nemotron.training.checkpoints.run_folder import RunFolder
from nemotron.training.checkpoints.run_record import RUN_RECORD, read_json
from nemotron.training.ranks import is_first, is_first_here


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
        clear_names(run.checkpoints)
        if run.own.folder is not None or run.own.skipped:
            repair(run.checkpoints, run.own)
        _keep_record(run)
        yield replace(run, skipped=(), own=replace(run.own, skipped=()))


def _keep_record(run: RunFolder) -> None:
    """Write run.json, unless a checkpoint has one already.

    It is kept twice, because one copy may be damaged, or missing after checkpoints were copied. A folder without a
    checkpoint may be taken by another run.
    """
    copies = [run.output / RUN_RECORD, run.checkpoints / RUN_RECORD]
    known = [read_json(copy) for copy in copies]
    record = {"checkpoints": str(run.checkpoints), "output_dir": str(run.output), **run.identity}
    if run.is_own and run.finished:
        record = known[0] or known[1] or record
    for copy, there in zip(copies, known, strict=True):
        if there != record:
            write_text(copy, json.dumps(record, indent=2) + "\n")
