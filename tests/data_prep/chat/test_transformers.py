"""The bundled template in transformers' engine: the same text, and its assistant mask, made independently of ours."""

import json
from pathlib import Path

import pytest

from nemotron.data_prep.chat.chunks import Chunk, sequences
from nemotron.data_prep.chat.template import load_template
from nemotron.data_prep.dialects.row import parse_row

ROOT = Path(__file__).parents[3]
GOLDEN = [json.loads(line) for line in (ROOT / "tests/data/chat_format.jsonl").open(encoding="utf-8")]
TEMPLATE = load_template("nemotron3")

pytestmark = pytest.mark.slow  # transformers takes seconds to import


def stretches(chunks: list[Chunk]) -> list[tuple[int, int]]:
    """Where the supervised text lies in the whole, without the newline after its end, which our mask leaves out."""
    ends = [sum(len(chunk.text) for chunk in chunks[: number + 1]) for number in range(len(chunks))]
    return [(end - len(chunk.text), end - 1) for chunk, end in zip(chunks, ends, strict=True) if chunk.supervised]


@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in GOLDEN])
def test_transformers_masks_what_we_supervise(case: dict):
    from transformers.utils.chat_template_utils import render_jinja_template

    conversation = parse_row(case)
    for chunks in sequences(conversation, TEMPLATE):
        text = "".join(chunk.text for chunk in chunks)
        stop = next(n for n in range(1, len(conversation.messages) + 1)
                    if TEMPLATE.render(conversation.messages[:n], conversation.tools) == text)  # fmt: skip
        (shown,), (found,) = render_jinja_template(
            [conversation.messages[:stop]], conversation.tools, chat_template=TEMPLATE.source,
            return_assistant_tokens_mask=True,
        )  # fmt: skip

        ours = stretches(chunks)
        assert shown == text
        # Answers of earlier turns that look the same in the history are marked too: they train in another sequence.
        assert [span for span in found if span[0] >= ours[0][0]] == ours


def test_the_mask_of_tokens_is_ours():
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(ROOT / "config/data_prep/tiny/tokenizer/tokenizer.json"), chat_template=TEMPLATE.source
    )
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}] * 2

    encoded = tokenizer.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)

    trained = [id for id, mask in zip(encoded["input_ids"], encoded["assistant_masks"], strict=True) if mask]
    assert tokenizer.decode(trained) == "Hello<|im_end|>Hello<|im_end|>"
