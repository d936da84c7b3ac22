"""Explain in one sentence why a run ended before its last iteration.

The reason may be a signal, a loss that is not finite, or a failure. In each case `finetune()` raises an exception.
First it logs the exception with a traceback. Then it destroys the process groups, which makes the other ranks fail too.
"""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from nemotron.errors import UserError, first_line
from nemotron.training.checkpoints.newest import find_newest, how_to_use_older
from nemotron.training.checkpoints.verified_parts import find_user_error
from nemotron.training.reporting.full_disk import explain_full_disk

# megatron/core/rerun_state_machine.py, validate_result: the error for a loss or a gradient norm that is not finite.
_NOT_FINITE = re.compile(r"Rank (\d+), node \S+, .*iteration (\d+): Unexpected result (\S+) \(message='([^']*)'\)")
# Errors of torch.distributed (gloo or NCCL) on the ranks that remain when one dies.
_PEER_LOST = re.compile(r"Connection (closed|reset) by peer|remote process exited|Broken pipe|aborted on rank", re.I)


# torch/_utils.py, ExceptionWrapper: the exception of a data loader's process, after a traceback.
_IN_A_LOADER = re.compile(rf"Caught UserError in .*^{UserError.__module__}\.UserError: (.*)", re.DOTALL | re.MULTILINE)


class Progress(Protocol):
    """The part of MetricsWriter that is needed here."""

    iteration: int | None
    """The current iteration, from 1; None before the first."""


@dataclass
class Ending:
    """How `finetune()` ended."""

    stopped: bool = False
    """Whether a signal or a time limit stopped it, after saving."""


@contextmanager
def explain_failures(progress: Progress, log: Path, checkpoints: Path) -> Iterator[Ending]:
    """Explain failures of `finetune()`, which runs in the `with` block.

    A stop by a signal or a time limit, after saving, is not a failure.

    Args:
        progress: The progress of the run.
        log: File with Megatron's own output, if there is one.
        checkpoints: Folder of the run's checkpoints.

    Raises:
        UserError: Megatron-Bridge refuses the config, a loss or gradient is not finite, the disk is full, or another
            rank is gone.
    """
    ending = Ending()
    reason_first = _ReasonFirst(progress, checkpoints)
    # The 0.6 line of Megatron-Bridge logs here the exception that ends a run; the 0.4 line only raises it.
    logger = logging.getLogger("megatron.bridge.training.pretrain")
    logger.addFilter(reason_first)
    try:
        yield ending
    except SystemExit as end:
        # Megatron-Bridge's train() exits like this on a signal or a time limit, after saving.
        if end.code not in (0, None):
            raise
        ending.stopped = True
    except (AssertionError, ValueError) as error:
        if progress.iteration is not None:
            raise
        where = f"at the end of {log}" if log.exists() else "in the output above"
        raise UserError(f"Megatron-Bridge refuses this config: {error}", f"Its own message is {where}.") from error
    except BaseException as error:  # a writer of checkpoints raises errors that are not Exceptions
        if (problem := _user_error(error, progress, checkpoints)) is None:
            raise
        raise problem from error
    finally:
        logger.removeFilter(reason_first)


class _ReasonFirst(logging.Filter):
    """Begins Megatron-Bridge's log record of a failure with the rank and the reason.

    The traceback follows.
    """

    def __init__(self, progress: Progress, checkpoints: Path) -> None:
        super().__init__()
        self._progress = progress
        self._checkpoints = checkpoints

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if error is None:
            return True
        if isinstance(error, SystemExit):  # not a failure
            return False
        problem = _user_error(error, self._progress, self._checkpoints)
        reason = problem.message if problem else f"{type(error).__name__}: {error}"
        record.msg, record.args = f"Rank {_rank()} failed{_at(self._progress)}. {reason}", ()
        return True


def _user_error(error: BaseException, progress: Progress, checkpoints: Path) -> UserError | None:
    """Explain an error to the user; None if it is not a known one."""
    if not isinstance(error, UserError) and (problem := find_user_error(error)):
        return problem
    if progress.iteration is None and type(error).__name__ == "CheckpointException":
        return _explain_load(error, checkpoints)
    if problem := explain_full_disk(error, checkpoints):
        return problem
    if isinstance(error, UserError) and (found := _IN_A_LOADER.match(error.message)):
        return UserError(found.group(1).strip())
    if not isinstance(error, RuntimeError):
        return None
    if found := _NOT_FINITE.search(str(error)):
        where, _, value, what = found.groups()
        return UserError(
            f"Training diverged: {what.removeprefix('found ')} (value {value}) on rank {where}{_at(progress)}.",
            f"{_last_checkpoint(checkpoints)} Lower optimizer.lr or lengthen the warm-up, and check the data.",
        )
    if _PEER_LOST.search(str(error)):
        return UserError(
            f"Rank {_rank()} lost its connection to another rank{_at(progress)}.",
            "The rank that ended first has the reason: look for the first error in this output.",
        )
    return None


def _explain_load(error: Any, checkpoints: Path) -> UserError:
    """Explain torch's error of loading a checkpoint, which has those of the ranks."""
    newest = find_newest(checkpoints).folder or checkpoints
    reason = next((first_line(each) for each, _ in error.failures.values()), type(error).__name__)
    return UserError(f"The checkpoint {newest} cannot be loaded: {reason}.", how_to_use_older(newest))


def _last_checkpoint(checkpoints: Path) -> str:
    finished = find_newest(checkpoints).iteration
    return f"The checkpoint of iteration {finished:,} is intact." if finished else "No checkpoint has been saved yet."


def _rank() -> str:
    return os.environ.get("RANK", "0")


def _at(progress: Progress) -> str:
    return "" if progress.iteration is None else f" at iteration {progress.iteration}"
