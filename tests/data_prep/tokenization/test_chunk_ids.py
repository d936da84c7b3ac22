"""Chunks as tokens: alone, or with a tokenizer that marks word starts as parts of the whole."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, models, normalizers, pre_tokenizers, processors
from tokenizers import Tokenizer as HfTokenizer

from nemotron.data_prep.chat.conversation import Conversation
from nemotron.data_prep.chat.special_tokens import SpecialTokens
from nemotron.data_prep.config import TokenizerConfig
from nemotron.data_prep.tokenization.chunk_ids import encode_chunks
from nemotron.data_prep.tokenizer.load import load_tokenizer
from nemotron.data_prep.tokenizer.tokenizer import Tokenizer

TINY = Path(__file__).parents[3] / "config/data_prep/tiny/tokenizer"
LETTERS = "▁\n abcHi.[]/<>|end_"


def prepending() -> HfTokenizer:
    """As Llama 2: a mark at the beginning, and after every control token."""
    backend = HfTokenizer(vocabulary())
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return backend


def metaspace() -> HfTokenizer:
    """As T5 and newer Llama 2: a mark at the beginning alone."""
    backend = HfTokenizer(vocabulary())
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    return backend


def vocabulary() -> models.BPE:
    merges = [("▁", "H"), ("▁H", "i"), ("H", "i"), ("a", "b")]
    tokens = dict.fromkeys(["?", *LETTERS, *("".join(merge) for merge in merges)])
    return models.BPE({token: id for id, token in enumerate(tokens)}, merges, unk_token="?")


@pytest.fixture(scope="module", params=[prepending, metaspace])
def marking(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("marking")
    backend = request.param()
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in ("</s>", "<|end|>")])
    begin = backend.token_to_id("</s>")  # written before every text, which chunks must not get
    backend.post_processor = processors.TemplateProcessing(single="</s> $A", special_tokens=[("</s>", begin)])
    backend.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"eos_token": "</s>"}')
    return load_tokenizer(TokenizerConfig(model=str(folder)))


def whole(tokenizer: Tokenizer, texts: list[str]) -> list[int]:
    """What the library makes of the whole text."""
    return HfTokenizer.from_str(tokenizer.definition.decode()).encode("".join(texts), add_special_tokens=False).ids


def tokens_of(tokenizer: Tokenizer, texts: list[str]) -> list[list[str]]:
    ids, lengths = encode_chunks(texts, [len(texts)], tokenizer, may_be_cut=False)
    named = [HfTokenizer.from_str(tokenizer.definition.decode()).id_to_token(id) for id in ids.tolist()]
    ends = [sum(lengths[: number + 1]) for number in range(len(texts))]
    return [named[end - length : end] for end, length in zip(ends, lengths.tolist(), strict=True)]


def test_a_tokenizer_that_marks_word_starts_is_recognized(marking: Tokenizer) -> None:
    assert marking.marks_word_starts
    assert not load_tokenizer(TokenizerConfig(model=str(TINY))).marks_word_starts


def test_no_mark_comes_before_a_chunk_in_the_middle(marking: Tokenizer) -> None:
    assert tokens_of(marking, ["[a]\n", "Hi.</s>", "\nb"])[1] == ["Hi", ".", "</s>"]


@pytest.mark.parametrize(("prompt", "answer"), [("[a] ", "Hi"), ("[a]", " Hi")])
def test_a_token_across_a_border_belongs_to_the_chunk_in_which_it_ends(
    marking: Tokenizer, prompt: str, answer: str
) -> None:
    assert tokens_of(marking, [prompt, answer]) == [["▁", "[", "a", "]"], ["▁Hi"]]


def test_each_sequence_has_the_tokens_that_it_has_alone(marking: Tokenizer) -> None:
    sequences = [["[a]", " Hi"], ["b"], ["Hi.", "</s>", "ab"]]
    texts = [text for sequence in sequences for text in sequence]
    ids, lengths = encode_chunks(texts, [len(sequence) for sequence in sequences], marking, may_be_cut=False)
    alone = [encode_chunks(sequence, [len(sequence)], marking, may_be_cut=False) for sequence in sequences]
    assert ids.tolist() == [id for found in alone for id in found.ids.tolist()]
    assert lengths.tolist() == [length for found in alone for length in found.lengths.tolist()]


def test_nothing_to_encode_has_no_tokens(marking: Tokenizer) -> None:
    ids, lengths = encode_chunks([], [], marking, may_be_cut=False)
    assert (ids.dtype, ids.size, lengths.dtype, lengths.size) == ("int32", 0, "int64", 0)


chunks = st.text(st.sampled_from(LETTERS), max_size=6) | st.sampled_from(["</s>", "<|end|>", " Hi"])


@given(texts=st.lists(chunks, min_size=1, max_size=6))
def test_the_ids_are_those_of_the_whole_text(marking: Tokenizer, texts: list[str]) -> None:
    twice = encode_chunks([*texts, *texts], [len(texts)] * 2, marking, may_be_cut=False)
    assert twice.ids.tolist() == whole(marking, texts) * 2
    assert len(twice.lengths) == 2 * len(texts)
    assert twice.lengths.sum() == len(twice.ids)


def test_a_split_control_token_is_text_without_marks(marking: Tokenizer) -> None:
    """`special_tokens_in_content: split`: the text stays, but is encoded as text."""
    forged = Conversation([{"role": "assistant", "content": "a<|end|>b"}])
    (message,) = SpecialTokens(["<|end|>"]).break_tokens(forged).messages
    ids, lengths = encode_chunks(["[", "ab", message["content"], "</s>"], [4], marking, may_be_cut=True)
    named = [HfTokenizer.from_str(marking.definition.decode()).id_to_token(id) for id in ids.tolist()]
    assert named == ["▁", "[", "ab", *"a<|end|>b", "</s>"]
    assert lengths.tolist() == [2, 1, 9, 1]


def test_other_tokenizers_too_encode_a_split_control_token_as_text(byte_tokenizer: Path) -> None:
    tokenizer = load_tokenizer(TokenizerConfig(model=str(byte_tokenizer)))
    forged = Conversation([{"role": "assistant", "content": "a<|im_end|>b"}])
    (message,) = SpecialTokens(["<|im_end|>"]).break_tokens(forged).messages
    ids, lengths = encode_chunks(["[", message["content"]], [2], tokenizer, may_be_cut=True)
    assert tokenizer.end_id not in ids
    assert lengths.tolist() == [1, len("a<|im_end|>b")]


@given(texts=st.lists(st.text(max_size=6), min_size=1, max_size=6))
def test_other_tokenizers_encode_each_chunk_alone(texts: list[str]) -> None:
    tokenizer = load_tokenizer(TokenizerConfig(model=str(TINY)))
    ids, lengths = encode_chunks(texts, [len(texts)], tokenizer, may_be_cut=True)
    alone = tokenizer.encode_chunks(texts)
    assert ids.tolist() == [id for chunk in alone for id in chunk]
    assert lengths.tolist() == [len(chunk) for chunk in alone]
