"""Exit codes that tell whoever started a run what to do next."""

STOPPED = 75
"""A signal, a time limit or train.exit_interval ended training early, after saving: the same command continues it. The
code is EX_TEMPFAIL of sysexits.h."""
INTERRUPTED = 130
"""Ctrl-C ended the run: 128 + SIGINT, as in a shell."""
STOPPED_MARK = "NEMOTRON_STOPPED_MARK"
"""Environment variable: the path of a file that the first rank creates when it stops with work left. torchrun turns
every exit code but 0 into its own failure, so recipes/torchrun.py looks for this file instead."""
