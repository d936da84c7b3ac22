"""Complete command lines in bash, zsh and fish: `nemotron --install-completion`.

Typer's own completion handles neither options before a command nor `key=value`, so the shell scripts call ours. They
set _NEMOTRON_COMPLETE to complete_bash, complete_zsh or complete_fish. As in bash, COMP_WORDS has the words and
COMP_CWORD the number of the one under the cursor.
"""

VARIABLE = "_NEMOTRON_COMPLETE"
