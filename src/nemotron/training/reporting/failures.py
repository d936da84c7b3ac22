"""How a run ends before its last iteration: stopped by a signal, by numbers that are no longer finite, by a failure.

`finetune()` leaves by an exception in every one of these cases, after it has logged the exception with a traceback and
before it takes the process groups down, which makes the other ranks fail too. What the user should read is one line
that names the rank and the reason, and it should come first.
"""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from nemotron.errors import UserError
from nemotron.training.checkpoints.run_folder import finished_iterations

# megatron/core/rerun_state_machine.py, validate_result: what is raised when a loss or a gradient norm is not finite.
_NOT_FINITE = re.compile(r"Rank (\d+), node \S+, .*iteration (\d+): Unexpected result (\S+) \(message='([^']*)'\)")
# What torch.distributed says, through gloo or NCCL, on the ranks that a dying one leaves behind.
_PEER_LOST = re.compile(r"Connection (closed|reset) by peer|remote process exited|Broken pipe|aborted on rank", re.I)


class Progress(Protocol):
    """As much of MetricsWriter as is asked here."""

    iteration: int | None
    """The iteration under way, from 1; None before the first."""


@dataclass
class Ending:
    """How `finetune()` ended, once it has."""

    stopped: bool = False
    """By a signal or a time limit, after saving."""


@contextmanager
def explained(progress: Progress, log: Path, checkpoints: Path) -> Iterator[Ending]:
    """Run `finetune()` inside. Returns normally when it stopped on a signal, after saving.

    Args:
        progress: how far it is.
        log: where Megatron's own output goes, if anywhere.
        checkpoints: where it saves.

    Raises:
        UserError: Megatron-Bridge refuses the config, a loss or gradient is not finite, or another rank is gone.
    """
    rank = os.environ.get("RANK", "0")
    told = _Told(progress, rank, checkpoints)
    ending = Ending()
    # Megatron-Bridge announces a failure here; its 0.4 line does not, and is spoken for.
    logger = logging.getLogger("megatron.bridge.training.pretrain")
    logger.addFilter(told)
    try:
        yield ending
    except SystemExit as end:
        # The way in which Megatron-Bridge's train() stops on a signal or a time limit, once it has saved.
        if end.code not in (0, None):
            raise
        ending.stopped = True
    except (AssertionError, ValueError) as error:
        if progress.iteration is not None:
            raise
        account = f"at the end of {log}" if log.exists() else "in the output above"
        raise UserError(f"Megatron-Bridge refuses this config: {error}", f"Its own account is {account}.") from error
    except RuntimeError as error:
        told.announce(logger, error)
        if (problem := _user_error(error, progress, rank, checkpoints)) is None:
            raise
        raise problem from error
    finally:
        logger.removeFilter(told)


class _Told(logging.Filter):
    """Rewrites the record with which Megatron-Bridge announces a failure: the reason in one line."""

    def __init__(self, progress: Progress, rank: str, checkpoints: Path) -> None:
        super().__init__()
        self._progress = progress
        self._rank = rank
        self._checkpoints = checkpoints
        self._announced = False

    def announce(self, logger: logging.Logger, error: BaseException) -> None:
        """Log the failure as Megatron-Bridge does, unless it did."""
        if not self._announced:
            logger.error("", exc_info=error)

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if error is None:
            return True
        if isinstance(error, SystemExit):
            return False
        self._announced = True
        known = isinstance(error, RuntimeError)
        problem = _user_error(error, self._progress, self._rank, self._checkpoints) if known else None
        reason = problem.message if problem else f"{type(error).__name__}: {error}"
        record.msg, record.args = f"Rank {self._rank} ends{_at(self._progress)}. {reason}", ()
        if problem is not None:
            record.exc_info = None
        return True


def _user_error(error: RuntimeError, progress: Progress, rank: str, checkpoints: Path) -> UserError | None:
    """The error in the user's terms, or None when it is not one of the known ones."""
    if found := _NOT_FINITE.search(str(error)):
        where, _, value, what = found.groups()
        return UserError(
            f"Training diverged: {what.removeprefix('found ')} (value {value}) on rank {where}{_at(progress)}.",
            f"{_last_checkpoint(checkpoints)} Lower optimizer.lr or lengthen the warm-up, and look at the data.",
        )
    if _PEER_LOST.search(str(error)):
        return UserError(
            f"Rank {rank} lost its connection to another rank{_at(progress)}.",
            "The rank that ended first says why: look for the first error in this output.",
        )
    return None


def _last_checkpoint(checkpoints: Path) -> str:
    finished = finished_iterations(checkpoints)
    return f"The checkpoint of iteration {finished:,} is intact." if finished else "No checkpoint had been saved yet."


def _at(progress: Progress) -> str:
    return "" if progress.iteration is None else f" at iteration {progress.iteration}"
