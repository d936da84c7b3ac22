"""`nemotron super3 data prep sft`: chat data in, packed Parquet out."""

from typing import TYPE_CHECKING

import typer

from nemotron.cli import configs, console, dry_run, options, remote

if TYPE_CHECKING:
    from nemotron.config import Loaded
    from nemotron.data_prep.config import DataPrepConfig
    from nemotron.data_prep.metadata import Metadata
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
    loaded = configs.load_prep(config, [*(overrides or []), *options.sample_overrides(sample, force)])
    if dry:
        dry_run.show_config(loaded, "Data prep config")
    if profile is not None:
        from nemotron.launch import prep_stage

        remote.launch([prep_stage(loaded)], profile, attached=run is not None, dry=dry)
    elif dry:
        show_prep_plan(loaded)
        dry_run.end()
    else:
        result = prepare_here(loaded)
        show_prepared(result)
        console.out(f"\nNext: nemotron super3 sft{_same_config(config)} run.data={result.artifact.reference}")


def _same_config(name: str) -> str:
    """` -c tiny` when training has a config of that name too, else nothing: its default."""
    from nemotron.config import config_names

    return f" -c {name}" if name in config_names() and name != "default" else ""


def show_prep_plan(loaded: "Loaded[DataPrepConfig]") -> None:
    """Inputs, settings, work and where the output goes."""
    from nemotron.data_prep.plan import make_plan

    dry_run.show_plan(make_plan(loaded.config).rows(), "Data prep plan")


def prepare_here(loaded: "Loaded[DataPrepConfig]") -> "PrepResult":
    """Run data prep on this machine, with progress."""
    from nemotron.data_prep.pipeline import prepare

    console.note(f"Preparing data with {loaded.path.name}.")
    with console.Progress() as progress:

        def show(stage: "Stage") -> None:
            progress.update(stage.name, stage.done, stage.total, stage.unit, made=stage.made)

        return prepare(loaded.config, on_progress=show)


def show_prepared(result: "PrepResult") -> None:
    """What data prep made, per dataset and per split, and where it is."""
    metadata = result.metadata
    console.heading("Prepared already: same inputs, same settings" if result.unchanged else "Prepared")
    _show_datasets(metadata)
    console.out()
    _show_splits(metadata)
    _show_dropped(metadata)
    _show_special_tokens(metadata)
    if result.plan.encoder.reason:
        console.note(f"\n  Encoded with {result.plan.encoder.name}, which is slower: {result.plan.encoder.reason}.")
    console.out()
    console.table(
        [
            ("data", str(result.splits_dir)),
            ("report", str(result.splits_dir.parent / "report.html")),
            ("artifact", result.artifact.reference),
        ]
    )


def _show_datasets(metadata: "Metadata") -> None:
    header = ("dataset", "rows", "kept", "dropped", "tokens", "supervised", "fill")
    rows = [
        (
            stats.name,
            *(f"{count:,}" for count in (stats.rows, stats.kept, stats.rows - stats.kept, stats.tokens)),
            _share(stats.supervised_tokens, stats.tokens),
            "-" if stats.fill is None else f"{stats.fill:.1%}",
        )
        for stats in metadata.datasets
    ]
    console.table(rows, header=header, right=range(1, len(header)))


def _show_splits(metadata: "Metadata") -> None:
    header = ("split", "conversations", "packs", "tokens", "fill", "supervised")
    rows = [
        (
            split.name,
            *(f"{count:,}" for count in (split.conversations, split.packs, split.tokens)),
            f"{split.fill:.1%}",
            _share(split.supervised_tokens, split.tokens),
        )
        for split in metadata.splits
    ]
    console.table(rows, header=header, right=range(1, len(header)))


def _show_dropped(metadata: "Metadata") -> None:
    """Why rows are missing, most frequent first, and of which datasets; and what the length limit cost."""
    from nemotron.data_prep.outcomes import describe

    dropped: dict[str, dict[str, int]] = {}
    for stats in metadata.datasets:
        for reason, count in stats.dropped.items():
            dropped.setdefault(reason, {})[stats.name] = count
    if dropped:
        console.out()
        rows = [
            (reason, f"{sum(counts.values()):,}", describe(reason), _by_dataset(counts))
            for reason, counts in sorted(dropped.items(), key=lambda entry: -sum(entry[1].values()))
        ]
        console.table(rows, header=("dropped", "rows", "because", "of"), right=[1])
    overlong = metadata.overlong
    if overlong.lost_supervised_share > 0:
        console.out(
            f"\n  {overlong.lost_supervised_share:.1%} of the supervised tokens did not fit into {overlong.limit:,} "
            f"tokens ({overlong.truncated:,} conversations cut, {overlong.dropped:,} dropped). "
            f"pack_size={overlong.pack_size_for_99_percent} would keep 99 %."
        )


def _show_special_tokens(metadata: "Metadata") -> None:
    """Where conversations have control tokens in their text: most likely by mistake, and some of it an attack."""
    for stats in metadata.datasets:
        if stats.special_tokens:
            where = "; ".join(
                f"{found['token']} in {found['file']}:{found['line']}" for found in stats.special_token_examples
            )
            console.note(
                f"\n  {stats.special_tokens:,} conversations of {stats.name} have control tokens in their text "
                f"(special_tokens_in_content={metadata.special_tokens_in_content}): {where}."
            )


def _by_dataset(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"
