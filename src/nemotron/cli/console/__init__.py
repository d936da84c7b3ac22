"""Print: results to stdout; errors, notes and progress to stderr.

On a terminal, text and tables fit its width, with colours unless NO_COLOR is set or TERM is dumb. COLUMNS overrides the
terminal's own width. Anywhere else lines are never wrapped, because programs read them.

All output goes through `printable`, because it may contain text from data and file names.
"""

from nemotron.cli.console.lines import command, content, error, heading, log, note, out, piece, raw
from nemotron.cli.console.pager import use_pager
from nemotron.cli.console.progress import Progress, show_work
from nemotron.cli.console.tables import table

__all__ = [
    "Progress",
    "command",
    "content",
    "error",
    "heading",
    "log",
    "note",
    "out",
    "piece",
    "raw",
    "show_work",
    "table",
    "use_pager",
]
