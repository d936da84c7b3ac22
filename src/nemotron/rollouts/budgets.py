"""Measure how well a served model keeps to a budget of reasoning tokens.

The same prompts are sent with several budgets.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from html import escape
from pathlib import Path

from nemotron.charts import Chart, Series, render_chart, render_library
from nemotron.errors import UserError
from nemotron.files.atomic_files import write_bytes, write_json
from nemotron.files.folder_lock import sole_writer
from nemotron.html_page import html_page
from nemotron.rollouts.client import Client
from nemotron.rollouts.collect import State
from nemotron.rollouts.filters import matches
from nemotron.rollouts.reply import Outcome, Reply
from nemotron.rollouts.run import RolloutsPlan, complete


@dataclass(frozen=True)
class BudgetResult:
    """The results of the prompts under one budget."""

    budget: int
    completions: int
    answers: int
    """Completions with an answer: neither refused nor empty nor unfinished."""
    within: float | None
    """Share of the answers with a thought within the budget; None without answers or token counts."""
    thought_tokens: float | None
    """Average tokens of a thought."""
    exact: float | None
    """Share of the answers that equal their reference; None without references."""
    references: int


def parse_budgets(text: str) -> list[int]:
    """Return the budgets of `64,256,1024`, in tokens.

    Raises:
        UserError: A budget is not a whole number above 0.
    """
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and int(word) > 0 for word in words):
        raise UserError(f"--budgets is {text}.", "Write numbers of tokens, such as 64,256,1024.")
    return sorted({int(word) for word in words})


def evaluate_budgets(
    plan: RolloutsPlan, budgets: Sequence[int], on_progress: Callable[[int, State], None] = lambda budget, state: None
) -> tuple[list[BudgetResult], Path]:
    """Complete every prompt under every budget (`reasoning_budget` of the template).

    A killed run is resumed.

    Returns:
        The results, and the folder with `budgets.json` and `budgets.html`.
    """
    folder = plan.output_dir / "budgets"
    with sole_writer(plan.output_dir):
        results = asyncio.run(_evaluate(plan, budgets, on_progress))
        write_json(folder / "budgets.json", [asdict(result) for result in results])
        write_bytes(folder / "budgets.html", render_budgets(results).encode())
    return results, folder


async def _evaluate(
    plan: RolloutsPlan, budgets: Sequence[int], on_progress: Callable[[int, State], None]
) -> list[BudgetResult]:
    results = []
    async with Client(plan.config.endpoint) as client:
        for budget in budgets:
            kwargs = {**plan.config.sampling.chat_template_kwargs, "reasoning_budget": budget}
            sampling = replace(plan.config.sampling, chat_template_kwargs=kwargs)
            under = replace(plan, config=replace(plan.config, sampling=sampling))
            completed = await complete(under, client, lambda state, budget=budget: on_progress(budget, state))
            pairs = [(request.prompt.reference, completed.replies.get(request.key)) for request in plan.requests]
            results.append(_measure(budget, pairs))
    return results


def _measure(budget: int, pairs: Sequence[tuple[str | None, Reply | None]]) -> BudgetResult:
    answered = [(reference, reply) for reference, reply in pairs if reply and reply.outcome is Outcome.COMPLETED]
    thoughts = [tokens for _, reply in answered if (tokens := count_thought_tokens(reply)) is not None]
    checked = [matches(reply.message["content"], reference) for reference, reply in answered if reference]
    return BudgetResult(
        budget,
        len(pairs),
        len(answered),
        sum(tokens <= budget for tokens in thoughts) / len(thoughts) if thoughts else None,
        sum(thoughts) / len(thoughts) if thoughts else None,
        sum(checked) / len(checked) if checked else None,
        len(checked),
    )


def count_thought_tokens(reply: Reply) -> int | None:
    """Return the number of tokens in a reply's thought.

    If the server does not count them, they are estimated from the thought's share of characters.
    """
    if reply.thought_tokens is not None or reply.tokens is None:
        return reply.thought_tokens
    thought, answer = len(reply.message.get("reasoning_content", "")), len(reply.message["content"])
    return round(reply.tokens * thought / max(thought + answer, 1))


def render_budgets(results: Sequence[BudgetResult]) -> str:
    """Return an HTML page with the chart and the table."""
    budgets = [result.budget for result in results]
    chart = Chart(
        "Answers by budget",
        "budget in tokens",
        "share of the answers",
        [
            Series("thought within the budget", budgets, [result.within for result in results], "dots"),
            Series("equal to the reference", budgets, [result.exact for result in results], "dots"),
        ],
    )
    header = "".join(f"<th>{name}</th>" for name in HEADER)
    rows = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in make_cells(result))}</tr>" for result in results
    )
    table = f"<table><tr>{header}</tr>{rows}</table>"
    return html_page("Answers within a budget", f"{render_chart(chart)}{table}{render_library()}")


HEADER = ("budget", "completions", "answers", "within budget", "tokens of thought", "exact match")


def make_cells(result: BudgetResult) -> tuple[str, ...]:
    """Return a result as table cells, in the order of HEADER."""
    thought = "-" if result.thought_tokens is None else f"{result.thought_tokens:,.0f}"
    return (
        f"{result.budget:,}",
        f"{result.completions:,}",
        f"{result.answers:,}",
        format_percent(result.within),
        thought,
        format_percent(result.exact),
    )


def format_percent(share: float | None) -> str:
    """Return a share in percent, or a dash."""
    return "-" if share is None else f"{share:.1%}"
