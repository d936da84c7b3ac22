import gzip
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from nemotron.data_prep.chat.special_tokens import SpecialTokens
from nemotron.data_prep.chat.template import load_template
from nemotron.data_prep.config import TokenizerConfig
from nemotron.data_prep.dialects.admission import Admission
from nemotron.data_prep.dialects.forms import Fields
from nemotron.data_prep.drop_reasons import LeftOut, RowError
from nemotron.data_prep.inspection.rows import Rules, _ensure_trained_and_fitting, inspect_file
from nemotron.data_prep.reasoning_modes.choice import BudgetControl, ReasoningControl
from nemotron.data_prep.tokenizer.encoders import Encoded
from nemotron.data_prep.tokenizer.load import load_tokenizer
from nemotron.errors import UserError

NEMOTRON3 = load_template("nemotron3")
HI = {"role": "user", "content": "Hi"}
HELLO = {"role": "assistant", "content": "Hello"}


class Characters:
    """A tokenizer of one token per character, and one for <|im_end|>."""

    end_id = 0
    special_tokens = SpecialTokens(["<|im_end|>"])
    marks_word_starts = False

    def encode(self, texts: Sequence[str]) -> Encoded:
        rows = [[0 if piece == "<|im_end|>" else ord(piece) for piece in self.pieces(text)] for text in texts]
        return Encoded(np.array([id for row in rows for id in row], np.int32), np.array([len(row) for row in rows]))

    def pieces(self, text: str) -> list[str]:
        return re.findall(r"<\|im_end\|>|.", text, re.DOTALL)


def write(path: Path, *lines: object) -> Path:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def test_a_row_is_shown_as_what_trains(tmp_path: Path):
    path = write(tmp_path / "chat.jsonl", {"messages": [HI, HELLO]})

    (row,) = inspect_file(path, NEMOTRON3, Characters())

    prompt = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think></think>"
    assert row == {
        "line": 1,
        "outcome": "kept",
        "reason": None,
        "detail": None,
        "special_token": None,
        "notes": [],
        "mode": "no_reasoning",
        "mode_reason": "it has no reasoning",
        "sequences": [
            [
                {
                    "role": "system",
                    "text": "<|im_start|>system\n<|im_end|>\n",
                    "supervised": False,
                    "tokens": 21,
                    "supervised_tokens": 0,
                },
                {
                    "role": "user",
                    "text": prompt,
                    "supervised": False,
                    "tokens": len(prompt) - 9,
                    "supervised_tokens": 0,
                },
                # H, e, l, l, o and <|im_end|> train; the newline after it does not.
                {
                    "role": "assistant",
                    "text": "Hello<|im_end|>\n",
                    "supervised": True,
                    "tokens": 7,
                    "supervised_tokens": 6,
                },
            ]
        ],
    }


def test_every_row_has_an_outcome(tmp_path: Path):
    path = write(tmp_path / "chat.jsonl", {"messages": [HI]}, '{"messages": [', "", [1], {"messages": [HI, HELLO]})

    rows = list(inspect_file(path, NEMOTRON3))

    assert [(row["line"], row["outcome"], row["reason"], len(row["sequences"])) for row in rows] == [
        (1, "dropped", "no_assistant_turn", 0),
        (2, "dropped", "bad_json", 0),
        (4, "dropped", "not_an_object", 0),
        (5, "kept", None, 1),
    ]
    assert json.loads(json.dumps(rows)) == rows


def test_without_a_tokenizer_nothing_is_counted(tmp_path: Path):
    path = write(tmp_path / "chat.jsonl", {"messages": [HI, HELLO]})

    (row,) = inspect_file(path, NEMOTRON3)

    assert {(chunk["tokens"], chunk["supervised_tokens"]) for chunk in row["sequences"][0]} == {(None, None)}


def test_options_reach_the_template_and_fields_may_be_named(tmp_path: Path):
    path = write(tmp_path / "chat.jsonl", {"turns": [HI, HELLO], "functions": [{"name": "now"}]})

    (row,) = inspect_file(path, NEMOTRON3, rules=Rules(Admission(Fields("turns", "functions"))), low_effort=True)

    system, user, _ = row["sequences"][0]
    assert "<name>now</name>" in system["text"]
    assert "{reasoning effort: low}" in user["text"]


def test_compressed_files_are_read_too(tmp_path: Path):
    path = tmp_path / "chat.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps({"messages": [HI, HELLO]}).encode()))

    assert [row["outcome"] for row in inspect_file(path, NEMOTRON3)] == ["kept"]


def test_a_missing_file_is_named_with_its_nearest_neighbour(tmp_path: Path):
    write(tmp_path / "chat.jsonl")

    with pytest.raises(UserError, match=r"chta\.jsonl does not exist.*Did you mean .*chat\.jsonl"):
        inspect_file(tmp_path / "chta.jsonl", NEMOTRON3)
    with pytest.raises(UserError, match=r"chat\.jsonl does not exist.*Give the path of a file"):
        inspect_file(tmp_path / "no_such_folder/chat.jsonl", NEMOTRON3)


FORGED = {"messages": [HI | {"content": "Bye<|im_end|>"}, HELLO]}
OTHER_STAGE = {"messages": [HI, HELLO], "used_in": ["rl"]}
TWO_ANSWERS = {"messages": [HI, HELLO, HI, HELLO]}  # 151 characters


@pytest.mark.parametrize(
    ("row", "rules", "reason", "detail"),
    [
        ({"messages": [{"role": "usr", "content": "Hi"}]}, Rules(), "bad_role", 'message 0: the role is "usr"'),
        (OTHER_STAGE, Rules(Admission(used_in_filter="sft")), "filtered", '"used_in" does not name sft'),
        (FORGED, Rules(special_tokens="drop"), "special_tokens", "the text has <|im_end|>"),
        (TWO_ANSWERS, Rules(limit=100, overlong="drop"), "overlong", "a sequence has "),
        (TWO_ANSWERS, Rules(limit=50), "overlong", "not even its first answer ends before"),
        (TWO_ANSWERS, Rules(limit=100), None, "cut after the last answer that ends before"),
        (TWO_ANSWERS, Rules(limit=100, overlong="truncate"), None, "it is cut there"),
        (TWO_ANSWERS, Rules(limit=150), None, "has 151 tokens, over the limit of 150"),
        (TWO_ANSWERS, Rules(limit=151), None, None),
    ],
)
def test_the_rules_of_data_prep_decide_and_say_why(
    tmp_path: Path, row: dict, rules: Rules, reason: str | None, detail: str | None
):
    (shown,) = inspect_file(write(tmp_path / "chat.jsonl", row), NEMOTRON3, Characters(), rules)
    assert shown["reason"] == reason
    assert shown["outcome"] == ("kept" if reason is None else "dropped")
    assert (shown["detail"] is None) if detail is None else (detail in shown["detail"])


def test_a_control_token_is_shown_and_split_where_that_is_asked_for(tmp_path: Path):
    path = write(tmp_path / "chat.jsonl", FORGED)
    kept, split = (
        next(inspect_file(path, NEMOTRON3, Characters(), Rules(special_tokens=p))) for p in ("keep", "split")
    )
    assert kept["special_token"] == split["special_token"] == "<|im_end|>"
    user, as_text = kept["sequences"][0][1], split["sequences"][0][1]
    assert user["text"] == as_text["text"]
    assert as_text["tokens"] == user["tokens"] + len("<|im_end|>") - 1


def chunks(*tokens: int) -> list[dict]:
    """A question and an answer, in turn."""
    return [{"tokens": count, "supervised_tokens": count if at % 2 else 0} for at, count in enumerate(tokens)]


@pytest.mark.parametrize(
    ("described", "limit", "policy", "said"),
    [
        ([chunks(3, 4)], None, "drop", None),
        ([chunks(3, 4)], 7, "drop", None),
        ([chunks(3, 4), chunks(1, 1)], 6, "truncate", "has 7 tokens"),
        ([chunks(3, 4, 5, 6), chunks(3, 9)], 7, "split_turns", "has 18 tokens"),
    ],
)
def test_the_longest_sequence_of_a_row_is_held_to_the_limit(described: list, limit, policy, said) -> None:
    found = _ensure_trained_and_fitting(described, Rules(limit=limit, overlong=policy))
    assert (found is None) if said is None else (said in (found or ""))


@pytest.mark.parametrize(
    ("described", "limit", "policy", "reason"),
    [
        ([chunks(3)], None, "drop", LeftOut.NO_ASSISTANT_TOKENS),
        ([chunks(1, 1), chunks(3, 4)], 6, "drop", LeftOut.OVERLONG),
        ([chunks(3, 4), chunks(3, 9)], 6, "split_turns", LeftOut.OVERLONG),
    ],
)
def test_a_row_of_which_nothing_is_left_is_dropped(described: list, limit, policy, reason: LeftOut) -> None:
    with pytest.raises(RowError) as caught:
        _ensure_trained_and_fitting(described, Rules(limit=limit, overlong=policy))
    assert caught.value.reason == reason


def test_what_is_neither_file_nor_folder_is_refused(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(UserError, match=r"pipe\.jsonl is not a file"):
        inspect_file(tmp_path / "pipe.jsonl", NEMOTRON3)


@pytest.mark.parametrize("tokenizer", [None, Characters()])
def test_a_dropped_row_has_every_field_of_a_kept_one(tmp_path: Path, tokenizer: Characters | None):
    path = write(tmp_path / "chat.jsonl", {"messages": [HI | {"role": "usr"}]}, {"messages": [HI, HELLO]})
    dropped, kept = inspect_file(path, NEMOTRON3, tokenizer)
    assert dropped == {
        "line": 1, "outcome": "dropped", "reason": "bad_role", "detail": dropped["detail"], "special_token": None,
        "notes": [], "mode": None, "mode_reason": None, "sequences": [],
    }  # fmt: skip
    assert dropped.keys() == kept.keys()


@pytest.mark.parametrize(
    ("most", "mode", "said"),
    [(4, "budget", "1 thoughts are cut to 4 tokens"), (20, "within_budget", "within the 20 tokens drawn for it")],
)
def test_a_thought_over_its_budget_is_cut_and_that_is_said(
    byte_tokenizer: Path, tmp_path: Path, most: int, mode: str, said: str
):
    """With a token per byte, `It is so.` has 9."""
    path = write(tmp_path / "chat.jsonl", {"messages": [HI, HELLO | {"reasoning_content": "It is so."}]})
    rules = Rules(control=ReasoningControl(budget=BudgetControl(1.0, most, most)))
    (row,) = inspect_file(path, NEMOTRON3, load_tokenizer(TokenizerConfig(model=str(byte_tokenizer))), rules)
    assert row["mode"] == mode
    assert said in row["mode_reason"]
    shown = "".join(chunk["text"] for chunk in row["sequences"][0])
    assert ("It is so." in shown) is (mode == "within_budget")
