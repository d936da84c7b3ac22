"""Complete command lines in bash, zsh and fish: `nemotron --install-completion`.

Typer's own completion knows neither options before a command nor `key=value`, so the scripts ask ours. They set
_NEMOTRON_COMPLETE to complete_bash, complete_zsh or complete_fish, COMP_WORDS to the words and COMP_CWORD to the number
of the one under the cursor, as bash does.
"""

VARIABLE = "_NEMOTRON_COMPLETE"
