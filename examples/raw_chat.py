"""Write raw chat data as it comes out of logs and old datasets, for docs/tutorial.md: 160 rows, some of them broken.

python examples/raw_chat.py raw_chat.jsonl
"""

import json
import random
import sys
from pathlib import Path
from typing import Any

ITEMS = ("order", "parcel", "invoice", "refund", "ticket", "booking")
CITIES = ("Oslo", "Lima", "Kyoto", "Accra", "Turin", "Quito")
BROKEN = (
    '{"messages": [{"role": "user", "content": "Hel',  # the log was cut here
    '["not", "a", "conversation"]',
    '{"messages": [{"role": "user", "content": "Is anyone there?"}]}',
    '{"messages": [{"role": "robot", "content": "Hello."}]}',
    '{"prompt": "Which answer is better?", "chosen": "This one.", "rejected": "That one."}',
    '{"messages": [{"role": "user", "content": [{"type": "image", "image": "a.png"}]}, '
    '{"role": "assistant", "content": "A cat."}]}',
)


def make_row(number: int, chance: random.Random) -> dict[str, Any]:
    """Return one row in one of five dialects."""
    item, city, count = chance.choice(ITEMS), chance.choice(CITIES), chance.randint(2, 60)
    question = f"Where is my {item} {1000 + number} to {city}?"
    answer = f"Your {item} {1000 + number} reaches {city} in {count % 7 + 1} days."
    match number % 5:
        case 0:
            thought = f"{count} items at 3 each: {count} * 3 = {3 * count}."
            row = {
                "messages": _turns(f"What do {count} items at 3 each cost?", f"<think>{thought}</think>{3 * count}.")
            }
        case 1:
            row = {"conversations": [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]}
        case 2:
            row = {"instruction": f"Write one line about {city}.", "output": f"{city} is worth {count} visits."}
        case 3:
            call = {"function": {"name": "track", "arguments": {"item": item, "number": 1000 + number}}}
            turns = [{"role": "user", "content": question}, {"role": "assistant", "tool_calls": [call]}]
            turns += [{"role": "tool", "content": {"days": count % 7 + 1}}, {"role": "assistant", "content": answer}]
            row = {"messages": turns, "tools": [{"name": "track", "parameters": {"type": "object"}}]}
        case _:
            row = {"messages": [*_turns(question, answer), *_turns("Thank you!", "You are welcome.")], "rating": 5}
    return row


def _turns(question: str, answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def main() -> None:
    """Write the rows, the broken ones spread among them."""
    chance = random.Random(7)
    lines = [json.dumps(make_row(number, chance)) for number in range(150)]
    lines += [lines[3], lines[4], lines[10], lines[11], *BROKEN]  # four rows came twice
    chance.shuffle(lines)
    Path(sys.argv[1]).write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
