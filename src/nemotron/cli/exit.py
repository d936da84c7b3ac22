"""End a process quickly, although training leaves a million objects."""

import atexit
import contextlib
import gc
import os
import sys
import threading
from typing import NoReturn

_TOOLS = 6
"""How many profilers and debuggers Python has room for."""


def skip_last_collections() -> None:
    """Keep Python from searching for cycles in everything when it exits.

    It does so several times, which takes 4 CPU seconds after torch and Megatron-Bridge were imported. What is garbage
    now is collected here; all else is freed with its module or its process. Exit handlers run as before.
    """
    if "torch" in sys.modules:
        gc.collect()
        gc.freeze()


def end(code: int) -> NoReturn:
    """End the process with an exit code, after its exit handlers, and free no objects.

    Of a fast encoder's vocabulary that takes longer than preparing a megabyte. The process ends the usual way where
    that may matter: after torch was imported, while threads run, under a profiler or a debugger, and if what is printed
    cannot be written.
    """
    watched = sys.getprofile() or sys.gettrace() or any(map(sys.monitoring.get_tool, range(_TOOLS)))
    skip_last_collections()
    if "torch" not in sys.modules and threading.active_count() == 1 and not watched:
        atexit._run_exitfuncs()
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    sys.exit(code)
