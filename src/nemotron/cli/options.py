"""Declare the options that commands share, as Typer annotations."""

import re
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from nemotron.cli.configs import PREP_GROUP, ROLLOUTS_GROUP
from nemotron.cli.usage import UsageError

_DATA_SUFFIX = re.compile(r"\.(jsonl?|ndjson|csv|tsv|parquet|pq|arrow|feather)(\.gz|\.zst)?$", re.IGNORECASE)


def expand_paths(given: Any) -> Any:
    """Replace `~` where paths come in, because a shell leaves it in quotes."""
    from nemotron.files.paths import expand_home

    if isinstance(given, list | tuple):
        return [expand_home(each) for each in given]
    return None if given is None else expand_home(given)


Config = Annotated[
    str,
    typer.Option(
        "-c",
        "--config",
        metavar="NAME|PATH",
        callback=expand_paths,
        help="A shipped config by name, or a YAML file of your own.",
    ),
]
Run = Annotated[
    str | None,
    typer.Option("-r", "--run", metavar="PROFILE", help="Run on a profile of env.toml, and stream the logs."),
]
Batch = Annotated[
    str | None,
    typer.Option("-b", "--batch", metavar="PROFILE", help="Submit to a profile of env.toml, and return."),
]
DryRun = Annotated[bool, typer.Option("-d", "--dry-run", help="Show what would be done without doing it.")]


def _set_verbose(asked: bool) -> None:
    """Set the variable that passes --verbose on to torchrun's processes and to jobs."""
    import os

    if asked:
        os.environ["NEMOTRON_VERBOSE"] = "1"


Verbose = Annotated[
    bool,
    typer.Option("--verbose", callback=_set_verbose, help="Show Megatron's output too. Also NEMOTRON_VERBOSE=1."),
]
Script = Annotated[
    bool, typer.Option("--script", help="With --dry-run and a profile: also show the script for sbatch.")
]
Compare = Annotated[
    bool, typer.Option("--compare", help="With --dry-run: also show what differs from Megatron-Bridge's recipe.")
]
Advise = Annotated[
    bool, typer.Option("--advise", help="With --dry-run: list the best layouts that fit the GPUs, and their cost.")
]
AsJson = Annotated[bool, typer.Option("--json", help="With --dry-run: print one JSON object, for programs.")]
Peft = Annotated[
    str | None,
    typer.Option("--peft", metavar="lora|dora|none", help="Train adapters, or every weight; short for peft=..."),
]
Tries = Annotated[
    list[str] | None,
    typer.Option("--try", metavar="TEXT", help="After training, show what the model says to this; repeatable."),
]
Artifacts = Annotated[
    Path | None,
    typer.Option(
        "--artifacts",
        metavar="DIR",
        callback=expand_paths,
        help="Folder of the artifact records; default: $NEMOTRON_ARTIFACTS, else output/artifacts.",
    ),
]
Sample = Annotated[
    str | None,
    typer.Option("--sample", metavar="N", help="Use only N conversations of each dataset, chosen by sample_seed."),
]
Force = Annotated[bool, typer.Option("--force", help="Discard the output of an earlier run, and start again.")]

Strict = Annotated[bool, typer.Option("--strict", help="Refuse a blend with domains without data.")]


def _key_values(arguments: list[str] | None) -> list[str]:
    """Check that arguments are `key=value`; a forgotten `-c` is the usual mistake."""
    for argument in arguments or []:
        if "=" not in argument:
            from nemotron.config import config_names

            known = [*config_names(), *config_names(PREP_GROUP), *config_names(ROLLOUTS_GROUP)]
            is_config = argument in known or argument.endswith((".yaml", ".yml"))
            hint = f"Did you mean -c {argument}?" if is_config else f"To set it, write {argument}=VALUE."
            if _is_data(argument):
                hint = f"To prepare it as data: nemotron super3 data prep sft {shlex.quote(argument)}"
            raise UsageError(f'"{argument}" is not key=value.', hint)
    return list(arguments or [])


Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE", callback=_key_values, help="Config values to change, such as train.train_iters=100."
    ),
]


def _data_or_key_values(arguments: list[str] | None) -> list[str]:
    """Turn chat data or a blend file among the arguments into `blend_path=`."""
    inputs = [argument for argument in arguments or [] if _is_data(argument)]
    others = _key_values([argument for argument in arguments or [] if argument not in inputs])
    given = [*inputs, *(other.partition("=")[2] for other in others if other.startswith("blend_path="))]
    if len(given) > 1:
        raise UsageError(
            f"Data is given {len(given)} times: {', '.join(given)}.",
            "Give one file, folder, glob or URL, or a blend file that lists several.",
        )
    return [*(f"blend_path={path}" for path in inputs), *others]


def _is_data(argument: str) -> bool:
    """Tell whether an argument is data, and not `key=value` or a forgotten `-c NAME`."""
    from nemotron.config import config_names

    if argument in (*config_names(), *config_names(PREP_GROUP)):
        return False
    if "://" in argument.partition("=")[0] or Path(expand_paths(argument)).exists():
        return not argument.endswith((".yaml", ".yml"))
    return "=" not in argument and ("*" in argument or bool(_DATA_SUFFIX.search(argument)))


DataOrOverrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[DATA] [KEY=VALUE]...",
        callback=_data_or_key_values,
        help="A blend file, or chat data as a file, folder, glob or URL; and config values to change.",
    ),
]


def check_profile(run: str | None, batch: str | None) -> str | None:
    """Choose the profile of `--run` or `--batch`; None means here and now.

    Raises:
        UsageError: Both are given.
    """
    if run is not None and batch is not None:
        raise UsageError(
            f"--run {run} and --batch {batch} cannot be used together.",
            "--run waits and streams the logs; --batch submits and returns. Choose one.",
        )
    return run if run is not None else batch


def check_tries(prompts: list[str] | None, profile: str | None, *, dry: bool) -> None:
    """Check that the prompts of `--try` can be answered here after training.

    Raises:
        UsageError: The model will be on another machine, there will be none, or a prompt is empty.
    """
    if not prompts:
        return
    if profile is not None:
        chat = "nemotron super3 model chat RUN"
        raise UsageError(
            f"--try answers on this machine, but {profile} trains elsewhere.", f"After the job, run {chat}"
        )
    if dry:
        raise UsageError("--try needs a model, but a dry run makes none.", "Remove one of the two options.")
    if not all(prompt.strip() for prompt in prompts):
        raise UsageError("A prompt of --try is empty.", "Write a text after --try.")


def peft_overrides(peft: str | None, overrides: list[str] | None) -> list[str]:
    """Return the config values to change, with what `--peft` sets first.

    Raises:
        ConfigError: Both --peft and peft= are given.
    """
    from nemotron.config import add_word

    return add_word("peft", peft, overrides or [])


def artifacts_root(given: Path | None) -> Path:
    """Return the folder of the artifact records, as in the shipped configs."""
    import os

    return given or Path(expand_paths(os.environ.get("NEMOTRON_ARTIFACTS") or "output/artifacts"))


def sample_overrides(sample: str | None, force: bool) -> list[str]:
    """Return `--sample` and `--force` as config values.

    Raises:
        UsageError: The sample is not a whole number above 0.
    """
    if sample is not None and (not sample.isdecimal() or int(sample) < 1):
        raise UsageError(f"--sample is {sample}.", "Give a whole number of conversations, at least 1.")
    return [*([f"sample={sample}"] if sample is not None else []), *(["force=true"] if force else [])]
