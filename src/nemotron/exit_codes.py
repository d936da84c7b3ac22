"""Exit codes that tell whoever started a run what to do next."""

STOPPED = 75
"""A signal, a time limit or train.exit_interval ended training before all was done, after saving: the same command
continues it. The code is EX_TEMPFAIL of sysexits.h."""
INTERRUPTED = 130
"""Ctrl-C ended it: 128 + SIGINT, as a shell has it."""
STOPPED_MARK = "NEMOTRON_STOPPED_MARK"
"""The variable that names a file for the first rank to make when it stops with work left: torchrun would make any exit
code but 0 a failure of its own. recipes/torchrun.py looks for it."""
