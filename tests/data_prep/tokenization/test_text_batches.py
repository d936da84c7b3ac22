"""What is encoded at once, or once for several sequences, makes no difference to what comes out."""

from collections.abc import Callable
from typing import Any

import pytest

from nemotron.data_prep.chat.conversation import Conversation
from nemotron.data_prep.chat.reasoning import turns_to_train
from nemotron.data_prep.chat.rendered import Sequence
from nemotron.data_prep.chat.template import Template, load_template
from nemotron.data_prep.config import DataPrepConfig
from nemotron.data_prep.dialects.row import parse_row
from nemotron.data_prep.drop_reasons import DropReason
from nemotron.data_prep.output.examples import EXAMPLES_FILE
from nemotron.data_prep.pipeline import prepare
from nemotron.data_prep.tokenization import part, text_batches
from nemotron.data_prep.tokenization.outcomes import Dropped
from nemotron.data_prep.tokenization.text_batches import Batch
from nemotron.errors import UserError

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


@pytest.fixture
def outputs_of(make_config: Callable[..., DataPrepConfig], write_rows: Callable) -> Callable[..., list[object]]:
    """What data prep makes of the conversations: shards, counts, examples."""
    write_rows("chat.jsonl", [{"messages": messages} for messages in CONVERSATIONS])

    def outputs(**settings: object) -> list[object]:
        result = prepare(make_config("chat.jsonl", force=True, **settings))
        shards = [path.read_bytes() for path in sorted(result.splits_dir.rglob("*.parquet"))]
        return [*shards, result.metadata.datasets, (result.plan.run_dir / EXAMPLES_FILE).read_bytes()]

    return outputs


@pytest.mark.parametrize("characters", [1, 200, 500])
def test_batches_of_any_size_make_the_same(
    outputs_of: Callable[..., list[object]], monkeypatch: pytest.MonkeyPatch, characters: int
) -> None:
    at_once = outputs_of()
    monkeypatch.setattr(text_batches, "BATCH_CHARACTERS", characters)
    assert outputs_of() == at_once


@pytest.mark.parametrize("settings", [{}, {"overlong": "truncate", "pack_size": 100}, {"overlong": "drop"}])
def test_a_shared_history_makes_the_same_as_one_repeated(
    outputs_of: Callable[..., list[object]], monkeypatch: pytest.MonkeyPatch, settings: dict[str, object]
) -> None:
    shared = outputs_of(**settings)
    render = text_batches.render_batches
    monkeypatch.setattr(part, "render_batches", lambda *given, may_share: render(*given, may_share=False))
    assert outputs_of(**settings) == shared


def test_the_history_of_many_turns_is_in_the_batch_once() -> None:
    turns = [message for number in range(50) for message in (USER, thinking(f"{number}."))]
    conversation = parse_row({"messages": turns})
    candidate = text_batches.Candidate(0, b"", conversation, turns_to_train(conversation.messages))
    template = load_template("nemotron3")
    [batch] = text_batches.render_batches([candidate], template, may_share=True)
    assert isinstance(batch, text_batches.Batch)
    assert batch.sequence_counts == [50]
    assert batch.shared_counts == [1, *range(2, 51)]
    assert sum(map(len, batch.texts)) < 3 * len(template.render(turns, None))
    [whole] = text_batches.render_batches([candidate], template, may_share=False)
    assert isinstance(whole, text_batches.Batch)
    assert set(whole.shared_counts) == {0}
    assert "".join(whole.texts[-3:]) == template.render(turns, None)


def test_a_few_conversations_are_rendered_by_jinja_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one however long it is, and then four in so many characters, none of them long."""
    compared: list[Any] = []
    monkeypatch.setattr(text_batches, "first_difference", lambda template, few, **options: compared.extend(few))
    check = text_batches.RenderingCheck(load_template("nemotron3"))

    def hand_on(name: str, *characters: int) -> list[str]:
        names: Any = [f"{name}{n}" for n in range(len(characters))]  # in the place of conversations
        candidates = [text_batches.Candidate(0, b"", one, []) for one in names]
        list(check.check([text_batches.Batch(candidates, characters=list(characters))]))
        return [compared.pop(0) for _ in list(compared)]

    assert hand_on("long", 200_000, 200_000) == ["long0"]
    assert hand_on("long again", 200_000) == []
    sizes = [100_001, *[100_000] * 5, *[70_000] * 50]
    assert hand_on("whole", *sizes) == [f"whole{n}" for n in range(1, 5)]
    small = [hand_on("small", 10_000, 10_000) for _ in range(200)]
    assert sum(map(len, small)) == 4
    assert max(map(len, small)) == 1
    check = text_batches.RenderingCheck(load_template("nemotron3"))
    assert hand_on("first", 10, 10, 10) == ["first0"]
    check = text_batches.RenderingCheck(Template("another", "{{ messages }}"))  # which Jinja renders anyway
    assert hand_on("other", 10, 10) == []


def said(answer: str, **extra: Any) -> text_batches.Candidate:
    conversation = parse_row({"messages": [USER, {"role": "assistant", "content": answer}]})
    return text_batches.Candidate(0, b"", conversation, turns_to_train(conversation.messages), **extra)


@pytest.mark.parametrize("candidate", [said("A"), said("A", texts=["s", "u", "a"])])
def test_a_rendering_that_differs_from_jinjas_ends_the_run(
    monkeypatch: pytest.MonkeyPatch, candidate: text_batches.Candidate
) -> None:
    by_jinja = "a, not b" if candidate.texts is None else None  # a plain row is compared by its texts
    monkeypatch.setattr(text_batches, "first_difference", lambda template, few, **options: by_jinja)
    check = text_batches.RenderingCheck(load_template("nemotron3"))
    with pytest.raises(UserError, match="nemotron3 renders differently"):
        list(check.check([text_batches.Batch([candidate], characters=[3])]))


def test_the_options_of_a_conversation_go_to_both_renderings(monkeypatch: pytest.MonkeyPatch) -> None:
    template, compared = load_template("nemotron3"), []
    monkeypatch.setattr(text_batches, "first_difference", lambda template, few, **options: compared.append(options))
    low = said("A", options={"low_effort": True})
    [batch] = text_batches.render_batches([low], template, may_share=True)
    assert isinstance(batch, Batch)
    list(text_batches.RenderingCheck(template).check([batch]))
    assert compared == [{"low_effort": True}]
    assert "".join(batch.texts) == template.render(low.conversation.messages, None, low_effort=True)
    assert "".join(batch.texts) != template.render(low.conversation.messages, None)


def test_each_chunk_of_a_plain_row_has_its_role() -> None:
    batch = Batch()
    batch.add_plain(said("a"), ["s", "u", "a", "u", "b"])
    assert batch.roles == ["system", "user", "assistant", "user", "assistant"]
    assert batch.supervised == [False, False, True, False, True]
    assert (batch.history_counts, batch.sequence_counts) == ([0], [1])
    assert (batch.shared_counts, batch.chunk_counts, batch.characters) == ([0], [5], [5])


def test_each_piece_of_a_shared_history_has_its_role() -> None:
    batch = Batch()
    batch.add(said("a"), ["s", "u1", "u2"], [Sequence(2, [("assistant", "a", True)])])
    assert batch.roles == ["system", "user", "user", "assistant"]
    assert batch.supervised == [False, False, False, True]


def test_a_batch_ends_with_the_conversation_that_fills_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_batches, "BATCH_CHARACTERS", 6)
    texts = [["s", "u", answer] for answer in ("a", "b", "longer", "two", "c", "d", "e", "f")]
    candidates = [
        text_batches.Candidate(line, b"", Conversation([]), [], texts=text) for line, text in enumerate(texts)
    ]
    batches = list(text_batches.render_batches(candidates, load_template("nemotron3"), may_share=True))
    assert [[one.line for one in batch.candidates] for batch in batches if isinstance(batch, Batch)] == [
        [0, 1], [2], [3, 4], [5, 6], [7],
    ]  # fmt: skip


def test_what_cannot_be_rendered_is_dropped_and_the_rest_goes_on() -> None:
    said = [parse_row({"messages": [USER, {"role": "assistant", "content": text}]}) for text in ("a", "no", "b")]
    template = Template(
        "picky",
        "{% for m in messages %}{{ raise_exception('refused') if m.content == 'no' else m.content }}|{% endfor %}",
    )
    candidates = [text_batches.Candidate(7 + n, b"", one, turns_to_train(one.messages)) for n, one in enumerate(said)]
    dropped, batch = text_batches.render_batches(candidates, template, may_share=False)
    assert isinstance(dropped, Dropped)
    assert (dropped.line, dropped.reason) == (8, DropReason.TEMPLATE_ERROR)
    assert isinstance(batch, Batch)
    assert [one.line for one in batch.candidates] == [7, 9]
