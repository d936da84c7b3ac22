"""Run `nemotron super3 data rollouts`: make training rows from completions."""

from typing import TYPE_CHECKING, Annotated

import typer

from nemotron.cli import configs, console, dry_run, options
from nemotron.cli.interrupts import stops_at_once

if TYPE_CHECKING:
    from collections.abc import Callable

    from nemotron.rollouts.collect import State
    from nemotron.rollouts.run import RolloutsPlan, RolloutsResult


def rollouts(
    overrides: options.Overrides = None,
    config: options.Config = "default",
    dry: options.DryRun = False,
    as_json: options.AsJson = False,
    force: options.Force = False,
    budgets: Annotated[
        str | None,
        typer.Option(
            "--budgets", metavar="N,N,...", help="Evaluate instead: the share of answers within each budget, in tokens."
        ),
    ] = None,
) -> None:
    """Complete prompts with a served model; the completions become rows for data prep.

    Any OpenAI-compatible endpoint works, such as vLLM with an export. A killed run is resumed without losing a row. The
    API key is read from the environment variable that endpoint.api_key_env names.

    \b
    Examples:
      nemotron super3 data rollouts prompts.source=blend.json prompts.samples=1000
      nemotron super3 data rollouts prompts.source=SFTDataArtifact-sft model_artifact=ModelArtifact-sft
      nemotron super3 data rollouts prompts.source=math.jsonl filter.exact_match=true --dry-run
      nemotron super3 data rollouts -c budget_control --budgets 64,256,1024
    """
    dry_run.check_options(dry, json=as_json)
    arguments = [*(overrides or []), *(["force=true"] if force else [])]
    from nemotron.rollouts.budgets import parse_budgets
    from nemotron.rollouts.run import make_plan, roll_out

    asked_budgets = parse_budgets(budgets) if budgets is not None else []
    if dry:
        with dry_run.Report("super3 data rollouts", as_json=as_json) as report:
            loaded = configs.load_rollouts(config, arguments)
            report.config(loaded, "Rollouts config")
            report.rows("Rollouts plan", make_plan(loaded.config).rows())
        return
    loaded = configs.load_rollouts(config, arguments)
    with stops_at_once(), console.Progress() as progress:
        plan = make_plan(loaded.config, lambda done, total: progress.update("read prompts", done, total, "bytes"))
        if asked_budgets:
            _evaluate(plan, asked_budgets, progress)
            return
        result = roll_out(plan, _report_to(progress, "complete"))
    _show(plan, result)


def _report_to(progress: console.Progress, label: str) -> "Callable[[State], None]":
    before: list[int] = []

    def show(state: "State") -> None:
        before.append(state.done)
        made = {"completions": state.done - before[0], "tokens": state.tokens}
        note = f"{state.retried:,} retries" if state.retried else ""
        progress.update(label, state.done, state.total, "completions", note, made)

    return show


def _evaluate(plan: "RolloutsPlan", budgets: list[int], progress: console.Progress) -> None:
    from nemotron.rollouts.budgets import HEADER, evaluate_budgets, make_cells

    shown = {budget: _report_to(progress, f"budget {budget:,}") for budget in budgets}
    results, folder = evaluate_budgets(plan, budgets, lambda budget, state: shown[budget](state))
    console.heading("Answers within a budget")
    console.table([make_cells(result) for result in results], header=HEADER, right=range(len(HEADER)))
    console.out()
    console.table([("plot", str(folder / "budgets.html")), ("numbers", str(folder / "budgets.json"))])


def _show(plan: "RolloutsPlan", result: "RolloutsResult") -> None:
    counts = result.counts
    console.heading(f"{counts.rows:,} rows of {counts.asked:,} completions by {result.model}")
    console.table(
        [
            ("rows", f"{counts.rows:,}"),
            ("with a thought", f"{counts.with_reasoning:,}"),
            *((reason, f"{count:,}") for reason, count in counts.left_out.most_common()),
        ],
        right=[1],
    )
    asked = plan.config.prompts.samples
    if asked is not None and asked > len(plan.prompts.prompts):
        console.note(f"\n  prompts.samples={asked:,} were asked for; {plan.prompts.source} has no more than these.")
    console.out()
    console.table([("rows", str(result.rows)), ("blend", str(result.blend)), ("artifact", result.artifact.reference)])
    console.out()
    console.command("Next: ", ["nemotron", "super3", "data", "prep", "sft", f"blend_path={result.blend}"])
