"""`nemotron super3 data prep sft`: chat data in, packed Parquet out."""

from typing import TYPE_CHECKING

import typer

from nemotron.cli import configs, console, dry_run, options, remote
from nemotron.cli.super3.data.prepared import show_prepared

if TYPE_CHECKING:
    from nemotron.config import Loaded
    from nemotron.data_prep.config import DataPrepConfig
    from nemotron.data_prep.pipeline import PrepResult, Stage

prep = typer.Typer(
    rich_markup_mode=None,
    help="Turn chat data into what a training stage reads.",
    epilog="Try it: nemotron super3 data prep sft -c tiny",
)


@prep.callback()
def _group() -> None:
    # With a single command Typer would otherwise leave out the group, and `prep sft` would be `prep`.
    pass


@prep.command("sft")
def prep_sft(
    overrides: options.Overrides = None,
    config: options.Config = "default",
    run: options.Run = None,
    batch: options.Batch = None,
    dry: options.DryRun = False,
    sample: options.Sample = None,
    force: options.Force = False,
    strict: options.Strict = False,
) -> None:
    """Prepare chat data for fine-tuning: tokens, loss masks, packs, splits. A killed run is completed.

    \b
    Examples:
      nemotron super3 data prep sft -c tiny
      nemotron super3 data prep sft blend_path=my_blend.json output_dir=/data/sft pack_size=8192
      nemotron super3 data prep sft --sample 100 --dry-run
      nemotron super3 data prep sft --batch YOUR-CLUSTER
    """
    profile = options.check_profile(run, batch)
    flags = [*options.sample_overrides(sample, force), *(["strict=true"] if strict else [])]
    loaded = configs.load_prep(config, [*(overrides or []), *flags])
    if dry:
        dry_run.show_config(loaded, "Data prep config")
    if profile is not None:
        from nemotron.launch import prep_stage

        placements = remote.place([prep_stage(loaded)], profile, attached=run is not None)
        remote.launch(placements, attached=run is not None, dry=dry)
    elif dry:
        show_prep_plan(loaded)
        dry_run.end()
    else:
        result = prepare_here(loaded)
        show_prepared(result)
        if result.has_training_split:
            console.out(f"\nNext: {_next_command(config, result)}")


def _next_command(config: str, result: "PrepResult") -> str:
    """Training on what was made: with the config of the same name where training has one, and the same artifacts."""
    import os
    import shlex

    from nemotron.config import config_names

    same_config = ["-c", config] if config in config_names() and config != "default" else []
    artifacts = result.plan.config.run.artifacts
    is_default = artifacts == os.environ.get("NEMOTRON_ARTIFACTS", "output/artifacts")
    elsewhere = [] if is_default else [f"run.artifacts={artifacts}"]
    return shlex.join(["nemotron", "super3", "sft", *same_config, f"run.data={result.artifact.reference}", *elsewhere])


def show_prep_plan(loaded: "Loaded[DataPrepConfig]") -> None:
    """Inputs, settings, work and where the output goes."""
    from nemotron.data_prep.plan import make_plan

    dry_run.show_plan(make_plan(loaded.config).rows(), "Data prep plan")


def prepare_here(loaded: "Loaded[DataPrepConfig]") -> "PrepResult":
    """Run data prep on this machine, with progress."""
    from nemotron.data_prep import preload

    console.note(f"Preparing data with {loaded.path.name}.")
    preload.begin(loaded.config)
    from nemotron.data_prep.pipeline import prepare

    with console.Progress() as progress:

        def show(stage: "Stage") -> None:
            progress.update(stage.name, stage.done, stage.total, stage.unit, made=stage.made)

        return prepare(loaded.config, on_progress=show)
