"""Install completion in a shell: a script, and the line that loads it."""

import os
from pathlib import Path

from nemotron.errors import UserError
from nemotron.files.atomic_files import write_text

_BASH = """\
_nemotron_completion() {
    local IFS=$'\\n'
    mapfile -t COMPREPLY < <(COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD \\
        _NEMOTRON_COMPLETE=complete_bash "$1" 2>/dev/null)
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=./] ]]; then
        compopt -o nospace
    fi
}
complete -o default -o nosort -F _nemotron_completion nemotron
"""
_ZSH = """\
#compdef nemotron
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
_nemotron() {
    local -a goes_on ends goes_on_help ends_help
    local line value
    for line in "${(@f)$(COMP_WORDS="${(F)words[1,CURRENT]}" COMP_CWORD=$((CURRENT - 1)) \\
            _NEMOTRON_COMPLETE=complete_zsh "${words[1]}" 2>/dev/null)}"; do
        value=${line%%$'\\t'*}
        [[ -z $value ]] && continue
        if [[ $value == *[=./] ]]; then
            goes_on+=("$value"); goes_on_help+=("${line/$'\\t'/  -- }")
        else
            ends+=("$value"); ends_help+=("${line/$'\\t'/  -- }")
        fi
    done
    (( ${#goes_on} )) && compadd -Q -l -S '' -d goes_on_help -a goes_on
    (( ${#ends} )) && compadd -Q -l -d ends_help -a ends
    (( ${#goes_on} + ${#ends} )) || _files
}
compdef _nemotron nemotron
"""
_FISH = """\
function __nemotron_complete
    set -l words (commandline -opc) (commandline -ct)
    COMP_WORDS=(string join \\n -- $words | string collect) COMP_CWORD=(math (count $words) - 1) \\
        _NEMOTRON_COMPLETE=complete_fish $words[1] 2>/dev/null
end
complete -c nemotron -f -a '(__nemotron_complete)'
"""
_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def show(shell: str | None = None) -> str:
    """Return the script for a shell, by default for the current one."""
    return _SCRIPTS[shell or find_shell()]


def install() -> list[Path]:
    """Write the script for the current shell, and have the shell load it.

    Returns:
        The files that were written or changed.
    """
    shell = find_shell()
    home = Path.home()
    if shell == "fish":  # fish loads every file of this folder
        config = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
        script = config / "fish" / "completions" / "nemotron.fish"
        write_text(script, _SCRIPTS[shell])
        return [script]
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    script, settings = data / "nemotron" / f"completion.{shell}", home / f".{shell}rc"
    write_text(script, _SCRIPTS[shell])
    line = f"source '{script}'"
    before = settings.read_text(encoding="utf-8") if settings.is_file() else ""
    if line in before.splitlines():
        return [script]
    with settings.open("a", encoding="utf-8") as file:
        file.write(f"{'' if before.endswith(chr(10)) or not before else chr(10)}{line}\n")
    return [script, settings]


def find_shell() -> str:
    """Find the current shell: the nearest parent process that is one, else $SHELL.

    Raises:
        UserError: There is no completion for it.
    """
    process = os.getppid()
    while process > 1:
        try:
            fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            break
        name, rest = fields[fields.index("(") + 1 : fields.rindex(")")], fields[fields.rindex(")") + 2 :]
        if name.lstrip("-") in _SCRIPTS:
            return name.lstrip("-")
        process = int(rest.split()[1])
    if (name := Path(os.environ.get("SHELL", "")).name) in _SCRIPTS:
        return name
    raise UserError(
        f"This was not started from {', '.join(_SCRIPTS)}; $SHELL is {os.environ.get('SHELL') or 'not set'}.",
        "Start it from the shell to complete in.",
    )
