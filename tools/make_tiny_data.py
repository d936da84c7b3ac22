"""Write the bundled chat data, config/data_prep/tiny/{chat,reasoning,tools}.jsonl: the same bytes every time.

    python tools/make_tiny_data.py [FOLDER]

Small and varied on purpose (see the modules of tools/tiny_data), with answers that are computed, so they are right.
The number of well-formed rows per file is in proportion 5 : 3 : 2, the weights of config/data_prep/blend_tiny.json.
"""

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random

from tiny_data import code, edge_cases, everyday, geography, languages, reasoning, tool_use
from tiny_data.messages import Row

SEED = 20250303
FOLDER = Path(__file__).resolve().parent.parent / "config" / "data_prep" / "tiny"


def _repeat(counts: dict[Callable[[Random], Row], int], rng: Random) -> list[Row]:
    return [make(rng) for make, count in counts.items() for _ in range(count)]


def chat(rng: Random) -> list[Row]:
    """260 rows: everyday chat, geography, code, fifteen languages, unusual forms, two long ones, four duplicates."""
    rows = _repeat(
        {
            everyday.greeting: 10,
            everyday.remembered_name: 8,
            everyday.conversion: 18,
            everyday.calendar: 12,
            everyday.words: 16,
            everyday.shopping_list: 8,
            geography.fact: 24,
            geography.interview: 24,
            geography.comparison: 8,
            code.python_function: 12,
            code.javascript_function: 6,
            code.sql_query: 4,
            code.shell_command: 4,
            code.loop_output: 8,
            edge_cases.content_parts: 6,
            edge_cases.developer_role: 5,
            edge_cases.context_only_turn: 6,
            edge_cases.null_content: 4,
            edge_cases.assistant_first: 3,
            edge_cases.two_assistant_turns: 3,
        },
        rng,
    )
    for language in languages.LANGUAGES:
        forms = (languages.capital, languages.capital, languages.hello, languages.translation)
        rows += [make(rng, language) for make in forms]
    rows += [geography.long_quiz(rng, questions=210), everyday.inventory_total(rng, lines=520)]
    rows += [geography.interview(rng) for _ in range(256 - len(rows))]
    return rows + rng.sample(rows[:100], 4)


def with_reasoning(rng: Random) -> list[Row]:
    """156 rows whose answers follow some reasoning; two of them long."""
    rows = _repeat(
        {
            reasoning.problem: 84,
            reasoning.inline_problem: 18,
            reasoning.lesson: 26,
            reasoning.partly_reasoned: 12,
            reasoning.addition_elsewhere: 14,
        },
        rng,
    )
    return [*rows, reasoning.long_lesson(rng, problems=36), reasoning.long_reasoning(rng, up_to=380)]


def with_tools(rng: Random) -> list[Row]:
    """104 rows that offer tools; one of them long."""
    rows = _repeat(
        {
            tool_use.weather: 22,
            tool_use.weather_in_two_cities: 16,
            tool_use.calculation: 16,
            tool_use.order_status: 14,
            tool_use.unknown_order: 5,
            tool_use.reminder: 10,
            tool_use.time: 6,
            tool_use.tools_unused: 5,
            tool_use.legacy_function_role: 3,
            tool_use.catalogue_search: 6,
        },
        rng,
    )
    return [*rows, tool_use.catalogue_search(rng, books=260)]


def _lines(name: str, rows: list[Row], broken: Iterable[str], rng: Random) -> list[str]:
    """Shuffle and number the rows, mark them with their releases, and spread the broken lines among them."""
    rng.shuffle(rows)
    lines = []
    for number, row in enumerate(rows, 1):
        # One row in sixteen belongs to an earlier release only, for `used_in_filter` to have something to leave out.
        releases = ["nano_v3"] if number % 16 == 0 else ["nano_v3", "super_v3"]
        labelled = {"id": f"{name}-{number:03d}", "used_in": releases} | row
        lines.append(json.dumps(labelled, ensure_ascii=False))
    for line in broken:
        lines.insert(rng.randrange(1, len(lines)), line)
    return lines


def main(folder: Path = FOLDER) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, make_rows, broken in (
        ("chat", chat, edge_cases.BROKEN_CHAT_LINES),
        ("reasoning", with_reasoning, ()),
        ("tools", with_tools, edge_cases.BROKEN_TOOL_LINES),
    ):
        rng = Random(f"{SEED} {name}")  # of its own, so that a change to one file leaves the others as they are
        lines = _lines(name, make_rows(rng), broken, rng)
        (folder / f"{name}.jsonl").write_bytes("".join(f"{line}\n" for line in lines).encode())


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
