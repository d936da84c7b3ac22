"""Run the `nemotron` command.

Commands import what they need when they run, so that help is instant.
"""

import os
import sys
from functools import cache
from typing import Annotated, Any

import typer

from nemotron.cli import completion, console
from nemotron.cli.artifacts import artifacts
from nemotron.cli.config import config
from nemotron.cli.doctor import doctor
from nemotron.cli.exit import end
from nemotron.cli.jobs import cancel, jobs, logs
from nemotron.cli.profiles import profiles
from nemotron.cli.remote import Detached
from nemotron.cli.super3 import super3
from nemotron.cli.super3.data.prep import begin_by_words
from nemotron.cli.usage import UsageError, arrange
from nemotron.errors import UserError
from nemotron.secrets import mask_streams

_HELP: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 110}

_TRAINS_WITH = {"torch", "megatron"}
"""Packages that the base install lacks; commands that only inspect things import neither."""
_PREPARES = ["nemotron", "super3", "data", "prep", "sft"]
_CONTINUES = {"prep", "sft", "pipe", "rollouts"}
"""Commands that resume after an interruption."""

app = typer.Typer(
    name="nemotron",
    add_completion=False,
    rich_markup_mode=None,  # rich alone takes longer to import than all of help may take
    pretty_exceptions_enable=False,
    epilog="Try it: nemotron super3 pipe -c tiny",
)
app.add_typer(super3, name="super3")
app.add_typer(artifacts, name="artifacts")
app.add_typer(config, name="config")
app.command("doctor")(doctor)
app.command("profiles")(profiles)
app.command("jobs")(jobs)
app.command("logs")(logs)
app.command("cancel")(cancel)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"nemotron {version('nemotron')}")
        raise typer.Exit


def _show_completion(asked: bool) -> None:
    if asked:
        from nemotron.cli.completion.install import show

        console.raw(show())
        raise typer.Exit


def _install_completion(asked: bool) -> None:
    if asked:
        from nemotron.cli.completion.install import install

        console.table([("written", str(path)) for path in install()])
        console.out("Completion works in new shells.")
        raise typer.Exit


@app.callback()
def nemotron(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    install_completion: Annotated[
        bool,
        typer.Option(
            "--install-completion",
            callback=_install_completion,
            is_eager=True,
            help="Complete commands, options and config keys in this shell: bash, zsh or fish.",
        ),
    ] = False,
    show_completion: Annotated[
        bool,
        typer.Option(
            "--show-completion", callback=_show_completion, is_eager=True, help="Print the completion script."
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error. Also NEMOTRON_DEBUG=1.")
    ] = False,
) -> None:
    """Fine-tune Nemotron models on chat data.

    Options may come before or after a subcommand; --help explains each.
    """


@cache
def _make_command() -> Any:
    """Build Typer's command, once for all command lines of a process."""
    return typer.main.get_command(app)


def run(arguments: list[str]) -> int:
    """Run one command line.

    Returns:
        The exit code: 1 for an error, 2 for bad usage, 130 for Ctrl-C.
    """
    debug = "--debug" in arguments or os.environ.get("NEMOTRON_DEBUG", "") not in ("", "0")
    command = _make_command()
    if completion.VARIABLE in os.environ:
        from nemotron.cli.completion.answer import answer

        try:
            found = answer(command)
        except Exception:  # a person who presses TAB cannot do anything about a damaged record
            if debug:
                raise
            return 1
        console.raw(found, newline=bool(found))
        return 0
    try:
        arranged = arrange(command, [argument for argument in arguments if argument != "--debug"])
        if arranged.arguments is None:
            # Called directly, because Typer imports pydantic on the way to a subcommand's help.
            context = typer.Context(arranged.command, info_name=" ".join(arranged.path), **_HELP)
            console.raw(arranged.command.get_help(context))
            return 0
        if arranged.path == _PREPARES:
            begin_by_words(arranged.arguments)
        code = command.main(arranged.arguments, prog_name="nemotron", standalone_mode=False)
        if code == 130:
            goes_on = " The same command continues where this one stopped." if _CONTINUES & {*arranged.path} else ""
            console.note(f"Interrupted.{goes_on}")
        return code or 0
    except Detached:
        return 130
    except UserError as error:
        if debug:
            raise
        console.error(error)
        return 2 if isinstance(error, UsageError) else 1
    except typer.TyperException as error:  # Typer's own error about a command line
        console.error(UserError(error.format_message(), "--help lists the options of a command."))
        return error.exit_code
    except ModuleNotFoundError as error:
        if debug or (error.name or "").partition(".")[0] not in _TRAINS_WITH:
            raise
        return _explain_missing(error)
    except OSError as error:
        from nemotron.files.atomic_files import FULL

        # Errors of the machine have a file name, unless the disk is full; any other OSError is a bug.
        if debug or error.strerror is None or (error.filename is None and error.errno not in FULL):
            raise
        place = error.filename or "A file cannot be written"
        console.error(UserError(f"{place}: {error.strerror}.", "Check the disk and the permissions there."))
        return 1


def _explain_missing(missing: ModuleNotFoundError) -> int:
    """Explain which package of the training stack is missing."""
    from nemotron.doctor import refuse_without_training

    try:
        refuse_without_training()
    except UserError as error:
        console.error(error)
        return 1
    raise missing


def main() -> None:
    """Run as the console script."""
    mask_streams()
    end(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
