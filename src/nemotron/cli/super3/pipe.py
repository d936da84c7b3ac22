"""`nemotron super3 pipe`: data prep, then training, as one command."""

from typing import TYPE_CHECKING, Annotated

import typer

from nemotron.cli import configs, console, dry_run, options, remote
from nemotron.cli.super3.data.prep import prepare_here, report_prep
from nemotron.cli.super3.data.prepared import show_prepared
from nemotron.cli.super3.sft import train_here
from nemotron.cli.super3.training_plan import report_training
from nemotron.cli.usage import UsageError
from nemotron.errors import UserError

if TYPE_CHECKING:
    from nemotron.config import Loaded
    from nemotron.data_prep.config import DataPrepConfig
    from nemotron.launch import Placement
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
    script: options.Script = False,
    compare: options.Compare = False,
    as_json: options.AsJson = False,
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
    dry_run.check_options(dry, script=script, compare=compare, json=as_json)
    arguments = [*(overrides or [])]
    if dry:
        with dry_run.Report("super3 pipe", as_json=as_json) as report:
            prepared, training, for_sft = _load(arguments, config, prep_config, sample, force)
            report.config(prepared, "Data prep config")
            report.config(training, "Training config")
            _report(report, prepared, training, profile, attached=run is not None, script=script, compare=compare)
        return
    prepared, training, for_sft = _load(arguments, config, prep_config, sample, force)
    from nemotron.training.checks.before_start import check_can_start

    check_can_start(training.config, here=profile is None)
    if profile is not None:
        placements = _place(prepared, training, profile, attached=run is not None)
        remote.launch(placements, attached=run is not None)
    else:
        show_prepared(prepare_here(prepared))
        console.out()
        train_here(training, ["--config", config, *for_sft])


def _load(
    overrides: list[str], config: str, prep_config: str | None, sample: str | None, force: bool
) -> tuple["Loaded[DataPrepConfig]", "Loaded[SftConfig]", list[str]]:
    """Both stages' configs, and the overrides of training."""
    for_prep, for_sft = _route(overrides)
    prepared = configs.load_prep(
        prep_config or _prep_name(config), [*for_prep, *options.sample_overrides(sample, force)]
    )
    for_sft = [*for_sft, f"run.data={_reference(prepared)}"]
    training = configs.load_sft(config, for_sft)
    _check_same_artifacts(prepared, training)
    return prepared, training, for_sft


def _place(
    prepared: "Loaded[DataPrepConfig]", training: "Loaded[SftConfig]", profile: str, *, attached: bool
) -> tuple["Placement", ...]:
    from nemotron.launch import prep_stage, sft_stage

    return remote.place([prep_stage(prepared), sft_stage(training)], profile, attached=attached)


def _report(
    report: dry_run.Report,
    prepared: "Loaded[DataPrepConfig]",
    training: "Loaded[SftConfig]",
    profile: str | None,
    *,
    attached: bool,
    script: bool,
    compare: bool,
) -> None:
    """Both plans, and the launch of both stages. Training is counted when its data is there already."""
    placements = _place(prepared, training, profile, attached=attached) if profile is not None else ()
    on_prep, on_sft = placements or (None, None)
    report_prep(report, prepared, on_prep)
    try:
        ranks = on_sft.ranks if on_sft else None
        here = on_sft is None
        report_training(report, training, ranks, here=here, data_may_be_missing=True, compare=compare)
    except UserError as error:
        report.refuse(error)
    if placements:
        remote.report_launch(report, placements, script=script)


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
