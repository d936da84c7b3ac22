"""Run `nemotron super3 pipe`: data prep, then training, as one command."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nemotron.cli import configs, console, dry_run, options, remote
from nemotron.cli.super3.data.prep import find_jobs, prep_sft, prepare_here, report_prep
from nemotron.cli.super3.data.prepared import show_prepared
from nemotron.cli.super3.sft import says_what_is_saved, sft, train_here
from nemotron.cli.super3.training_checks import refuse_here, refuse_on
from nemotron.cli.super3.training_plan import report_here, report_on
from nemotron.cli.usage import UsageError
from nemotron.errors import UserError, did_you_mean, refuse

if TYPE_CHECKING:
    from nemotron.config import Loaded
    from nemotron.data_prep.config import DataPrepConfig
    from nemotron.data_prep.plan import PrepPlan
    from nemotron.launch import Placement
    from nemotron.training.config import SftConfig
    from nemotron.training.prepared_data import PreparedData

PrepConfig = Annotated[
    str | None,
    typer.Option(
        "--prep-config",
        metavar="NAME|PATH",
        help="The data-prep config; default: the one with the name of --config or of the nearest config it inherits.",
    ),
]
Stage = Annotated[
    str | None,
    typer.Option("--stage", metavar="prep|sft", help="Run only data prep, or only training on its data."),
]


def pipe(
    overrides: options.DataOrOverrides = None,
    config: options.Config = "default",
    prep_config: PrepConfig = None,
    run: options.Run = None,
    batch: options.Batch = None,
    stage: Stage = None,
    peft: options.Peft = None,
    dry: options.DryRun = False,
    verbose: options.Verbose = False,
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
      nemotron super3 pipe -c tiny chat.jsonl
      nemotron super3 pipe -c tiny pack_size=2048 train.train_iters=30
      nemotron super3 pipe --run YOUR-CLUSTER
      nemotron super3 pipe --batch YOUR-CLUSTER --stage sft
    """
    profile = options.check_profile(run, batch)
    dry_run.check_options(dry, script=script, compare=compare, json=as_json)
    arguments = options.peft_overrides(peft, overrides)
    if _check_stage(stage) == "prep":
        for_prep, name = _route(arguments)[0], prep_config or _prep_name(config)
        prep_sft(for_prep, name, run, batch, dry, script, as_json, sample, force)
        return
    if stage == "sft":
        _, _, for_sft = _load(arguments, config, prep_config, sample, force)
        sft(for_sft, config, run, batch, dry, script=script, compare=compare, as_json=as_json)
        return
    if dry:
        with dry_run.Report("super3 pipe", as_json=as_json) as report:
            prepared, training, for_sft = _load(arguments, config, prep_config, sample, force)
            report.config(prepared, "Data prep config")
            report.config(training, "Training config")
            _report(report, prepared, training, profile, attached=run is not None, script=script, compare=compare)
        return
    prepared, training, for_sft = _load(arguments, config, prep_config, sample, force)
    if profile is not None:
        placements = _place(prepared, training, profile, attached=run is not None)
        refuse_on(training, placements[1], _expect(prepared))
        remote.launch(placements, attached=run is not None)
    else:
        refuse(find_jobs(prepared))
        from nemotron.doctor import refuse_without_training

        refuse_without_training()
        with says_what_is_saved(training.config):
            refuse_here(training, _expect(prepared))
        show_prepared(prepare_here(prepared))
        console.out()
        from nemotron.config.interpolate import is_open

        if is_open(training.tree):  # `${art:data,...}` can be resolved now
            training = configs.load_sft(config, for_sft)
        train_here(training, ["--config", config, *for_sft])


def _check_stage(stage: str | None) -> str | None:
    """Refuse an unknown --stage.

    Raises:
        UsageError: The stage is neither prep nor sft.
    """
    if stage not in (None, "prep", "sft"):
        raise UsageError(f"There is no stage {stage}.", did_you_mean(stage, ("prep", "sft")) or "Stages: prep, sft.")
    return stage


def _load(
    overrides: list[str], config: str, prep_config: str | None, sample: str | None, force: bool
) -> tuple["Loaded[DataPrepConfig]", "Loaded[SftConfig]", list[str]]:
    """Load both stages' configs, and the overrides of training."""
    for_prep, for_sft = _route(overrides)
    prepared = configs.load_prep(
        prep_config or _prep_name(config), [*for_prep, *options.sample_overrides(sample, force)]
    )
    for_sft = [*for_sft, f"run.data={_reference(prepared)}"]
    training = configs.load_sft(config, for_sft, leave_artifacts=True)
    _check_same_artifacts(prepared, training)
    return prepared, training, for_sft


def _place(
    prepared: "Loaded[DataPrepConfig]", training: "Loaded[SftConfig]", profile: str, *, attached: bool
) -> tuple["Placement", ...]:
    from nemotron.launch import make_prep_stage, make_sft_stage

    return remote.place([make_prep_stage(prepared), make_sft_stage(training)], profile, attached=attached)


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
    """Report both plans and launches; training is counted where its data exists."""
    placements = _place(prepared, training, profile, attached=attached) if profile is not None else ()
    plan = report_prep(report, prepared, placements[0] if placements else None)
    expected = _expect(prepared, plan)
    if placements:
        report_on(report, training, placements[1], expected, compare=compare)
        remote.report_launch(report, placements, script=script)
    else:
        report_here(report, training, expected, compare=compare)


def _expect(prepared: "Loaded[DataPrepConfig]", plan: "PrepPlan | None" = None) -> "PreparedData":
    """Describe the data before it is made, without pack counts."""
    from nemotron.training.prepared_data import DataTokenizer, PreparedData

    config = prepared.config
    made_with = None
    if plan is not None:
        tokenizer = plan.tokenizer
        made_with = DataTokenizer(tokenizer.name, tokenizer.digest, tokenizer.vocab_size, tokenizer.eos_id)
    return PreparedData(
        reference=_reference(prepared),
        splits=Path(config.output_dir, "splits"),
        packs={},
        pack_size=config.pack_size,
        pad_to_multiple=config.pad_to_multiple,
        run_hash=None if plan is None else plan.run_hash,
        tokenizer=made_with,
    )


def _route(overrides: list[str]) -> tuple[list[str], list[str]]:
    """Split overrides into those of data prep and those of training."""
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
    """Choose the data-prep config that goes with a training config.

    It has the same name, or that of the nearest config that is inherited; `default` if there is none, as for lora.
    """
    from nemotron.config import config_names, find_config, list_ancestors

    known = [name for name in config_names(configs.PREP_GROUP) if name != "default"]
    if config in known:
        return config
    return next((name for name in list_ancestors(find_config(config)) if name in known), "default")


def _reference(prepared: "Loaded[DataPrepConfig]") -> str:
    """Return the reference of the artifact that data prep will make."""
    from nemotron.data_prep.output.publish import artifact_name

    return f"{artifact_name(prepared.config)}:{prepared.config.config_name}"


def _check_same_artifacts(prepared: "Loaded[DataPrepConfig]", training: "Loaded[SftConfig]") -> None:
    written, read = prepared.config.run.artifacts, training.config.run.artifacts
    if written != read:
        raise UserError(
            f"Data prep records what it makes in {written}, but training looks for it in {read}.",
            f"Set both: run.artifacts={written}",
        )
