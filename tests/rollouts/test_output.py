"""What a row says of its completion."""

from types import SimpleNamespace

import pytest

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
