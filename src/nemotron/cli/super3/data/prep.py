"""Run `nemotron super3 data prep sft`: chat data in, packed Parquet out."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from nemotron.cli import configs, console, dry_run, options, remote
from nemotron.cli.interrupts import stops_at_once
from nemotron.cli.super3.data.prepared import show_prepared
from nemotron.data_prep.collector import collect_rarely
from nemotron.errors import Problem, UserError, refuse

if TYPE_CHECKING:
    from nemotron.config import Loaded
    from nemotron.data_prep.config import DataPrepConfig
    from nemotron.data_prep.pipeline import PrepResult
    from nemotron.data_prep.plan import PrepPlan
    from nemotron.data_prep.progress import WorkProgress
    from nemotron.launch import Placement

_LARGE_BATCH = 1024
"""The packs that suffice for any usual batch, so that the training config need not be read."""

prep = typer.Typer(
    rich_markup_mode=None,
    help="Turn chat data into packs for a training stage.",
    epilog="Try it: nemotron super3 data prep sft -c tiny",
)


@prep.callback()
def _group() -> None:
    # With a single command, Typer would otherwise drop the group, and `prep sft` would be `prep`.
    pass


@prep.command("sft")
def prep_sft(
    overrides: options.DataOrOverrides = None,
    config: options.Config = "default",
    run: options.Run = None,
    batch: options.Batch = None,
    dry: options.DryRun = False,
    script: options.Script = False,
    as_json: options.AsJson = False,
    sample: options.Sample = None,
    force: options.Force = False,
    strict: options.Strict = False,
) -> None:
    """Prepare chat data for fine-tuning: tokens, loss masks, packs, splits.

    A killed run is resumed.

    \b
    Examples:
      nemotron super3 data prep sft -c tiny
      nemotron super3 data prep sft chat.jsonl tokenizer.model=/models/super
      nemotron super3 data prep sft blend_path=my_blend.json output_dir=/data/sft pack_size=8192
      nemotron super3 data prep sft --sample 100 --dry-run
      nemotron super3 data prep sft --batch YOUR-CLUSTER
    """
    profile = options.check_profile(run, batch)
    dry_run.check_options(dry, script=script, json=as_json)
    flags = [*options.sample_overrides(sample, force), *(["strict=true"] if strict else [])]
    arguments = [*(overrides or []), *flags]
    if dry:
        with dry_run.Report("super3 data prep sft", as_json=as_json) as report:
            _report(report, configs.load_prep(config, arguments), profile, attached=run is not None, script=script)
        return
    loaded = configs.load_prep(config, arguments)
    if profile is not None:
        from nemotron.launch import make_prep_stage

        remote.launch(
            remote.place([make_prep_stage(loaded)], profile, attached=run is not None), attached=run is not None
        )
    else:
        refuse(find_jobs(loaded))
        result = prepare_here(loaded)
        show_prepared(result)
        if result.has_training_split:
            console.out()
            console.command("Next: ", _next_command(config, result))


def _report(
    report: dry_run.Report, loaded: "Loaded[DataPrepConfig]", profile: str | None, *, attached: bool, script: bool
) -> None:
    report.config(loaded, "Data prep config")
    if profile is None:
        report_prep(report, loaded, None)
        report.stage("prep", [*dry_run.local_variables(), ("runs", "in this process and its workers")], {})
        return
    from nemotron.launch import make_prep_stage

    placements = remote.place([make_prep_stage(loaded)], profile, attached=attached)
    report_prep(report, loaded, placements[0])
    remote.report_launch(report, placements, script=script)


def _next_command(config: str, result: "PrepResult") -> list[str]:
    """Return the command that trains on the data, with its config and artifacts."""
    import os

    from nemotron.config import config_names

    same_config = ["-c", config] if config in config_names() and config != "default" else []
    artifacts = result.plan.config.run.artifacts
    is_default = artifacts == os.environ.get("NEMOTRON_ARTIFACTS", "output/artifacts")
    elsewhere = [] if is_default else [f"run.artifacts={artifacts}"]
    fewer = _fit_batch(same_config[-1] if same_config else "default", result)
    return ["nemotron", "super3", "sft", *same_config, f"run.data={result.artifact.reference}", *elsewhere, *fewer]


def _fit_batch(config: str, result: "PrepResult") -> list[str]:
    """Return the override that fits the config's global batch to little data."""
    packs = sum(split.packs for split in result.metadata.splits if split.name == "train")
    if packs >= _LARGE_BATCH:
        return []
    batch = configs.load_sft(config, [], leave_artifacts=True).config.train.get("global_batch_size")
    return [f"train.global_batch_size={packs}"] if isinstance(batch, int) and packs < batch else []


def report_prep(
    report: dry_run.Report, loaded: "Loaded[DataPrepConfig]", placement: "Placement | None"
) -> "PrepPlan | None":
    """Add inputs, settings, work and output to a dry run, and what is refused.

    Args:
        report: The dry run.
        loaded: The data-prep config.
        placement: Where it will run; None: here.

    Returns:
        The plan; None where it cannot be made from here.
    """
    from nemotron.data_prep.plan import make_plan

    for problem in find_jobs(loaded) if placement is None else ():
        report.refuse(UserError(problem.message, problem.hint))
    try:
        plan = make_plan(loaded.config)
    except UserError as error:
        if placement is None or placement.shares_files:
            report.refuse(error)
        report.rows("Data prep plan", [("not available here", error.message)])
        return None
    report.rows("Data prep plan", plan.rows(), plan.to_dict())
    return plan


def find_jobs(loaded: "Loaded[DataPrepConfig]") -> list[Problem]:
    """Find the submitted job that works in the folder of a run on this machine."""
    from nemotron.launch.jobs.in_use import check_folders_here
    from nemotron.launch.stages import list_prep_writes

    return [*check_folders_here(list_prep_writes(loaded))]


def begin_by_words(words: Sequence[str]) -> None:
    """Start the process that workers are forked from, if the words name much data.

    It imports while Typer checks the words and the config is read, which takes 0.2 s. `prepare_here` tells it the rest.
    """
    values = dict(word.split("=", 1) for word in words if "=" in word)
    here = not {"-d", "--dry-run", "-r", "--run", "-b", "--batch"} & {*words} and values.get("engine") != "ray"
    if not here or values.get("workers") == "1":
        return
    from nemotron.data_prep import preload

    if values.get("workers", "null") != "null" or preload.count_cores() > 1:
        again = "--force" in words or values.get("force") == "true"
        blends = [
            *(word for word in words if "=" not in word),
            *([values["blend_path"]] if "blend_path" in values else []),
        ]
        preload.start_importing_for(blends, None if again else values.get("output_dir"))


def prepare_here(loaded: "Loaded[DataPrepConfig]") -> "PrepResult":
    """Run data prep on this machine, with progress."""
    from nemotron.data_prep import preload
    from nemotron.data_prep.engine.numpy_threads import import_numpy

    console.note(f"Preparing data with {loaded.path.name}.")
    preload.start_early(loaded.config)
    with stops_at_once(), collect_rarely(), console.show_work("look at the inputs") as progress:
        import_numpy()
        from nemotron.data_prep.pipeline import prepare

        def show(work: "WorkProgress") -> None:
            progress.update(work.name, work.done, work.total, work.unit, made=work.made)
            if work.name == "pack" and work.done == work.total:
                progress.wait_for("write the report and the record")

        return prepare(loaded.config, on_progress=show)
