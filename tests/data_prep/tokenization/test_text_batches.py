"""What is encoded at once makes no difference to what comes out."""

from collections.abc import Callable

import pytest

from nemotron.data_prep.chat.reasoning import turns_to_train
from nemotron.data_prep.chat.template import load_template
from nemotron.data_prep.config import DataPrepConfig
from nemotron.data_prep.dialects.row import parse_row
from nemotron.data_prep.pipeline import prepare
from nemotron.data_prep.tokenization import text_batches
from nemotron.data_prep.tokenization.part_files import DROPPED, INDEX, MASK, TOKENS, file_of, read_receipt

USER = {"role": "user", "content": "And then?"}


def thinking(answer: str, **extra: object) -> dict:
    return {"role": "assistant", "content": answer, "reasoning_content": "Let me see."} | extra


# Many sequences each, some with an answer that is nothing but its end, in the first batch of it or in a later one.
CONVERSATIONS = [
    [USER, thinking("One."), USER, thinking("Two."), USER, thinking("Three.")],
    [USER, {"role": "assistant", "content": "No thought."}],
    [USER, thinking("One."), USER, thinking("", reasoning_content="x"), USER, thinking("Three."), USER],
    [USER, thinking("One.", train=False), USER, {"role": "assistant", "content": ""}, USER, thinking("Three.")],
    [USER, thinking("One.", train=False)],
]


@pytest.mark.parametrize("characters", [1, 200, 500])
def test_a_conversation_may_go_on_in_the_next_batch(
    make_config: Callable[..., DataPrepConfig], write_rows: Callable, monkeypatch: pytest.MonkeyPatch, characters: int
) -> None:
    write_rows("chat.jsonl", [{"messages": messages} for messages in CONVERSATIONS])

    def outputs() -> list[object]:
        result = prepare(make_config("chat.jsonl", force=True))
        [planned] = result.plan.datasets
        [part] = [file.output(part) for file, part in planned.parts()]
        shards = [path.read_bytes() for path in sorted(result.splits_dir.rglob("*.parquet"))]
        return [read_receipt(part), *(file_of(part, s).read_bytes() for s in (TOKENS, MASK, INDEX, DROPPED)), *shards]

    at_once = outputs()
    monkeypatch.setattr(text_batches, "BATCH_CHARACTERS", characters)
    assert outputs() == at_once


def test_a_batch_is_no_larger_than_a_sequence_makes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_batches, "BATCH_CHARACTERS", 1)
    conversation = parse_row({"messages": CONVERSATIONS[0]})
    candidate = text_batches.Candidate(0, b"", conversation, turns_to_train(conversation.messages))
    made = list(text_batches.render_batches([candidate], load_template("nemotron3")))
    assert all(isinstance(batch, text_batches.Batch) for batch in made)
    assert [batch.sequence_counts for batch in made] == [[1], [1], [1]]
    assert [batch.goes_on for batch in made] == [True, True, False]
