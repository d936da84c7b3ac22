"""`nemotron super3 pipe`: data prep, then training, as one command."""

from typing import TYPE_CHECKING, Annotated

import typer

from nemotron.cli import configs, console, dry_run, options, remote
from nemotron.cli.super3.data.prep import prepare_here, show_prep_plan
from nemotron.cli.super3.data.prepared import show_prepared
from nemotron.cli.super3.sft import show_plan_if_counted, train_here
from nemotron.cli.usage import UsageError
from nemotron.errors import UserError

if TYPE_CHECKING:
    from nemotron.config import Loaded
    from nemotron.data_prep.config import DataPrepConfig
    from nemotron.training.config import SftConfig

PrepConfig = Annotated[
    str | None,
    typer.Option(
        "--prep-config",
        metavar="NAME|PATH",
        help="The data-prep config. Without it: the one named like --config, else default.",
    ),
]


def pipe(
    overrides: options.Overrides = None,
    config: options.Config = "default",
    prep_config: PrepConfig = None,
    run: options.Run = None,
    batch: options.Batch = None,
    dry: options.DryRun = False,
    sample: options.Sample = None,
    force: options.Force = False,
) -> None:
    """Prepare chat data, then fine-tune on it.

    This is `data prep sft` and `sft` in order. A KEY=VALUE goes to the stage whose config has the key.

    \b
    Examples:
      nemotron super3 pipe -c tiny
      nemotron super3 pipe -c tiny pack_size=2048 train.train_iters=30
      nemotron super3 pipe --run YOUR-CLUSTER
    """
    profile = options.check_profile(run, batch)
    for_prep, for_sft = _route(overrides or [])
    prep_name = prep_config or _prep_name(config)
    prepared = configs.load_prep(prep_name, [*for_prep, *options.sample_overrides(sample, force)])
    reference = _reference(prepared)
    for_sft = [*for_sft, f"run.data={reference}"]
    training = configs.load_sft(config, for_sft)
    _check_same_artifacts(prepared, training)
    if not dry:
        from nemotron.training.checks.before_start import check_can_start

        check_can_start(training.config, here=profile is None)
    if dry:
        dry_run.show_config(prepared, "Data prep config")
        dry_run.show_config(training, "Training config")
    if profile is not None:
        from nemotron.launch import prep_stage, sft_stage

        stages = [prep_stage(prepared), sft_stage(training)]
        remote.launch(remote.place(stages, profile, attached=run is not None), attached=run is not None, dry=dry)
    elif dry:
        _show_plans(prepared, training)
    else:
        show_prepared(prepare_here(prepared))
        console.out()
        train_here(training, ["--config", config, *for_sft])


def _route(overrides: list[str]) -> tuple[list[str], list[str]]:
    """The overrides of data prep and those of training."""
    from nemotron.config import route_overrides
    from nemotron.data_prep.config import DataPrepConfig
    from nemotron.training.config import SftConfig

    routed = route_overrides(overrides, {"prep": DataPrepConfig, "sft": SftConfig})
    if any(override.startswith("run.data=") for override in routed["sft"]):
        raise UsageError(
            "pipe trains on the data it prepares, so run.data cannot be set.",
            "To train on other data: nemotron super3 sft run.data=...",
        )
    return routed["prep"], routed["sft"]


def _prep_name(config: str) -> str:
    """The data-prep config of the same name, when there is one (lora has none of its own)."""
    from nemotron.config import config_names

    return config if config in config_names(configs.PREP_GROUP) else "default"


def _reference(prepared: "Loaded[DataPrepConfig]") -> str:
    """The artifact that data prep is going to make."""
    from nemotron.data_prep.output.publish import artifact_name

    return f"{artifact_name(prepared.config)}:{prepared.config.config_name}"


def _check_same_artifacts(prepared: "Loaded[DataPrepConfig]", training: "Loaded[SftConfig]") -> None:
    written, read = prepared.config.run.artifacts, training.config.run.artifacts
    if written != read:
        raise UserError(
            f"Data prep records what it makes in {written}, but training looks for it in {read}.",
            f"Set both: run.artifacts={written}",
        )


def _show_plans(prepared: "Loaded[DataPrepConfig]", training: "Loaded[SftConfig]") -> None:
    show_prep_plan(prepared)
    show_plan_if_counted(training)
    dry_run.end()
