"""Write replies as rows that data prep reads.

Everything that is left out is counted.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from nemotron.data_prep.dialects.row import parse_row
from nemotron.data_prep.drop_reasons import RowError
from nemotron.files.atomic_files import replace_when_complete, write_json
from nemotron.rollouts.collect import Request
from nemotron.rollouts.config import SamplingConfig
from nemotron.rollouts.filters import Filter
from nemotron.rollouts.prompts import ROWS
from nemotron.rollouts.reply import Outcome, Reply

LEFT_OUT = "left_out.jsonl"
BLEND = "blend.json"


@dataclass
class Counts:
    """Counts of what happened to the completions.

    `asked == rows + sum(left_out.values())`, always.
    """

    asked: int = 0
    rows: int = 0
    with_reasoning: int = 0
    """Rows with a thought."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Completions left out, by outcome or filter."""
    tokens: int = 0
    """Tokens of the rows, as the server counts them."""


def write_rows(
    folder: Path,
    requests: Sequence[Request],
    replies: dict[str, Reply],
    filters: Sequence[Filter],
    sampling: SamplingConfig,
) -> Counts:
    """Write `rollouts.jsonl`, `left_out.jsonl` and a blend that names the rows.

    Each file is written completely or not at all.
    """
    counts = Counts()
    with (
        replace_when_complete(folder / ROWS) as rows_path,
        replace_when_complete(folder / LEFT_OUT) as left_out_path,
        open(rows_path, "wb") as rows,
        open(left_out_path, "wb") as left_out,
    ):
        for request in requests:
            counts.asked += 1
            row, reason, detail = _make_row(request, replies.get(request.key), filters, sampling)
            if reason is None:
                counts.rows += 1
                counts.with_reasoning += "reasoning_content" in row["messages"][-1]
                counts.tokens += row["rollout"]["tokens"] or 0
                rows.write(orjson.dumps(row) + b"\n")
            else:
                counts.left_out[reason] += 1
                left_out.write(orjson.dumps({"key": request.key, "reason": reason, "detail": detail}) + b"\n")
    write_json(folder / BLEND, {"datasets": [{"name": "rollouts", "path": ROWS}]})
    return counts


def _make_row(
    request: Request, reply: Reply | None, filters: Iterable[Filter], sampling: SamplingConfig
) -> tuple[dict[str, Any], str | None, str]:
    """Return the row of a reply, why it is left out (None if kept), and the detail."""
    if reply is None:
        return {}, "failed", "no reply after all retries"
    if reply.outcome is not Outcome.COMPLETED:
        return {}, reply.outcome.value, reply.detail
    row = make_row(request, reply, sampling)
    try:
        parse_row(row)
    except RowError as error:  # such as a call with broken arguments
        return row, str(error.reason), error.detail
    reason = next((reason for keep in filters if (reason := keep(row)) is not None), None)
    return row, reason, ""


def make_row(request: Request, reply: Reply, sampling: SamplingConfig) -> dict[str, Any]:
    """Return a conversation as a row for data prep.

    Only the completion trains, because earlier answers are not this model's.
    """
    prompt = request.prompt
    history = [
        {**message, "train": False} if message["role"] == "assistant" else message for message in prompt.messages
    ]
    row: dict[str, Any] = {"messages": [*history, reply.message], "reference": prompt.reference}
    if prompt.tools:
        row["tools"] = prompt.tools
    if sampling.chat_template_kwargs:
        row["chat_template_kwargs"] = sampling.chat_template_kwargs
    row["rollout"] = {
        "key": request.key,
        "dataset": prompt.dataset,
        "model": reply.model,
        "tokens": reply.tokens,
        "finish_reason": reply.finish_reason,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "seed": sampling.seed,
    }
    return row
