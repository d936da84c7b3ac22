"""Exit codes that tell whoever started a run what to do next."""

import os
import signal
import sys
from typing import NoReturn

STOPPED = 75
"""A signal, a time limit or train.exit_interval ended training early, after saving: the same command continues it. The
code is EX_TEMPFAIL of sysexits.h."""
INTERRUPTED = 130
"""Ctrl-C ended the run: 128 + SIGINT, as in a shell."""
TERMINATED = 143
"""SIGTERM ended the command: 128 + SIGTERM."""
STOPPED_MARK = "NEMOTRON_STOPPED_MARK"
"""Environment variable: the path of a file that the first rank creates when it stops with work left. torchrun turns
every exit code but 0 into its own failure, so recipes/torchrun.py looks for this file instead."""
BEGUN = ".begun"
"""The end of the name of a file next to that one, which says that iterations have begun: a signal saves first."""


def end_on_sigterm() -> None:
    """Let SIGTERM end this process with a line and TERMINATED.

    Commands with work to finish or to undo replace this. Ranks of a launcher are left to it: where they wait for each
    other, Python would not get to a handler.
    """
    process = os.getpid()

    def end(*_: object) -> NoReturn:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if os.getpid() != process:  # a forked worker
            os.kill(os.getpid(), signal.SIGTERM)
        os.write(2, b"\nTerminated.\n")
        sys.exit(TERMINATED)

    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL and "RANK" not in os.environ:
        signal.signal(signal.SIGTERM, end)
