"""What a row says of its completion."""

import json
from types import SimpleNamespace

import pytest

from nemotron.rollouts import output
from nemotron.rollouts.config import SamplingConfig
from nemotron.rollouts.output import make_row
from nemotron.rollouts.reply import Reply

SAID = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]


@pytest.mark.parametrize("tools", [None, [{"name": "f"}]])
@pytest.mark.parametrize("kwargs", [{}, {"low_effort": True}])
def test_a_row_is_the_prompt_the_reply_and_how_it_was_made(tools, kwargs):
    prompt = SimpleNamespace(messages=SAID, reference="right", tools=tools, dataset="math")
    answer = {"role": "assistant", "content": "d"}
    reply = Reply("ok", answer, tokens=7, finish_reason="stop", model="a model")  # pyright: ignore[reportArgumentType]
    sampling = SamplingConfig(temperature=0.5, top_p=0.9, max_tokens=100, seed=3, chat_template_kwargs=kwargs)
    row = make_row(SimpleNamespace(prompt=prompt, key="the key"), reply, sampling)  # pyright: ignore[reportArgumentType]
    assert row == {
        "messages": [SAID[0], {**SAID[1], "train": False}, SAID[2], answer],
        "reference": "right",
        **({"tools": tools} if tools else {}),
        **({"chat_template_kwargs": kwargs} if kwargs else {}),
        "rollout": {
            "key": "the key", "dataset": "math", "model": "a model", "tokens": 7, "finish_reason": "stop",
            "temperature": 0.5, "top_p": 0.9, "max_tokens": 100, "seed": 3,
        },
    }  # fmt: skip


def test_every_request_is_a_row_or_left_out_for_a_reason(tmp_path, monkeypatch):
    def message(**reasoning):
        return [*SAID, {"role": "assistant", "content": "d", **reasoning}]

    made = {
        "a": ({"messages": message(), "rollout": {"tokens": 5}}, None, ""),
        "b": ({"messages": message(reasoning_content="why"), "rollout": {"tokens": None}}, None, ""),
        "c": ({}, "length", "9 tokens"),
        "d": ({"messages": message(), "rollout": {"tokens": 7}}, None, ""),
        "e": ({}, "length", "1 token"),
    }
    monkeypatch.setattr(output, "_make_row", lambda request, *_: made[request.key])
    counts = output.write_rows(tmp_path, [SimpleNamespace(key=key) for key in made], {}, [], SamplingConfig())  # pyright: ignore
    assert (counts.asked, counts.rows, counts.with_reasoning, counts.tokens) == (5, 3, 1, 12)
    assert counts.left_out == {"length": 2}
    read = {name: (tmp_path / f"{name}.jsonl").read_text().splitlines() for name in ("rollouts", "left_out")}
    assert [json.loads(line) for line in read["rollouts"]] == [made[key][0] for key in "abd"]
    assert [json.loads(line)["key"] for line in read["left_out"]] == ["c", "e"]
    [dataset] = json.loads((tmp_path / output.BLEND).read_text())["datasets"]
    assert (tmp_path / dataset["path"]).name == "rollouts.jsonl"
