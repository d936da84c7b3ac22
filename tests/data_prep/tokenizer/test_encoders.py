"""The choice of the encoder: the fast one only where it gives the ids of the true one."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, processors

from nemotron.data_prep.config import DataPrepConfig
from nemotron.data_prep.pipeline import prepare
from nemotron.data_prep.tokenizer import encoders
from nemotron.data_prep.tokenizer.encoders import (
    PROBES,
    Encode,
    Encoded,
    EncoderChoice,
    EncoderName,
    choose_encoder,
    fast_ids,
    join,
    make_decoder,
    make_encoder,
)

TINY = Path(__file__).parents[3] / "config/data_prep/tiny/tokenizer/tokenizer.json"
PIECES = (
    "<|im_start|>",
    "<|im_end|>",
    "</think>",
    "<tool_call>",
    "<|im_",
    " ",
    "\n",
    "\t",
    "'ll",
    "ß",
    "東京",
    "٣",
    "e\u0301",
)


@pytest.fixture(scope="module")
def tiny() -> bytes:
    return TINY.read_bytes()


@pytest.fixture(scope="module")
def fast(tiny: bytes) -> Encode:
    return make_encoder("gigatoken", tiny)


@pytest.fixture(scope="module")
def truth(tiny: bytes) -> Encode:
    return make_encoder("tokenizers", tiny)


@given(texts=st.lists(st.lists(st.sampled_from(PIECES) | st.text(max_size=12), max_size=8).map("".join), max_size=5))
def test_gigatoken_gives_the_ids_of_tokenizers(fast: Encode, truth: Encode, texts: list[str]) -> None:
    (ids, lengths), expected = fast(texts), truth(texts)
    assert ids.tolist() == expected.ids.tolist()
    assert lengths.tolist() == expected.lengths.tolist()
    assert (ids.dtype, lengths.dtype) == (np.int32, np.int64)


def test_a_sample_is_short_pieces_of_many_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders, "SAMPLE_CHARACTERS", 10)
    monkeypatch.setattr(encoders, "PIECE_CHARACTERS", 4)
    assert list(encoders.take_pieces(["abcdef", "gh", "ijklmn", "o"])) == ["abcd", "gh", "ijkl"]
    assert list(encoders.take_pieces(["abcdef", "gh", "ijk", "o", "p"])) == ["abcd", "gh", "ijk", "o"]


def test_the_true_encoder_starts_no_threads(monkeypatch: pytest.MonkeyPatch, tiny: str) -> None:
    """They would not survive a fork, and workers are processes."""
    monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    encoders.hugging_face.__wrapped__(tiny)
    assert os.environ["TOKENIZERS_PARALLELISM"] == "false"


def test_loading_a_tokenizer_leaves_no_file_open(tiny: bytes) -> None:
    before = os.listdir("/proc/self/fd")
    encoders.hugging_face.__wrapped__(tiny)
    assert os.listdir("/proc/self/fd") == before


def test_a_separator_takes_no_spaces_around_it_and_is_special() -> None:
    tokens = [{"content": "<plain>"}, {"content": "<wide>", "lstrip": True, "special": True}]
    tokens += [{"content": "<end>", "rstrip": False, "special": True}, {"content": "", "special": True}]
    added = [{"id": number, **token} for number, token in enumerate(tokens)]
    definition = json.dumps({"added_tokens": added}).encode()
    assert encoders._find_separators(definition) == {"<end>": encoders.Separator(2, True)}


@pytest.mark.parametrize(
    ("name", "others", "alone"),
    [
        ("<a>", ["<b>", "<ab>"], True),
        ("<a<", [], False),  # with itself
        ("<a>", ["b<"], False),
        ("<a>", [">b"], False),
        ("<a>", ["<a>b"], False),
        ("<a>b", ["<a>"], False),
    ],
)
def test_a_separator_that_may_share_characters_with_a_token_does_not_stand_alone(
    name: str, others: list[str], alone: bool
) -> None:
    assert encoders._stands_alone(name, [name, *others]) is alone


def test_of_many_separators_the_first_are_tested_for_standing_alone() -> None:
    added = [{"id": number, "content": f"<{number}>", "special": True} for number in range(10)]
    found = encoders._find_separators(json.dumps({"added_tokens": added}).encode())
    assert [separator.stands_alone for separator in found.values()] == [True] * 8 + [False] * 2


def test_a_separator_that_another_token_swallows_divides_nothing(tiny: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the texts it is a part of `x<|im_end|>`, and one text has it: their number alone would seem right."""
    definition = json.loads(tiny)
    [end] = [token for token in definition["added_tokens"] if token["content"] == "<|im_end|>"]
    swallows = {**end, "id": max(token["id"] for token in definition["added_tokens"]) + 1, "content": "x<|im_end|>"}
    definition["added_tokens"].append(swallows)
    both = json.dumps(definition).encode()
    monkeypatch.setattr(encoders, "_find_separators", lambda _: {"<|im_end|>": encoders.Separator(end["id"], False)})
    texts = ["x", "a<|im_end|>b"]
    (ids, lengths), expected = make_encoder("gigatoken", both)(texts), make_encoder("tokenizers", both)(texts)
    assert (ids.tolist(), lengths.tolist()) == (expected.ids.tolist(), expected.lengths.tolist())


def test_auto_takes_the_fast_encoder_for_a_tokenizer_it_knows(tiny: bytes) -> None:
    assert choose_encoder("auto", tiny, ["some text"]) == ("gigatoken", "")
    assert choose_encoder("tokenizers", tiny, ["some text"]) == ("tokenizers", "")


def test_a_tokenizer_the_fast_encoder_does_not_know_is_encoded_by_the_true_one() -> None:
    words = Tokenizer(models.WordLevel({"a": 0, "?": 1}, unk_token="?")).to_str().encode()
    name, reason = choose_encoder("gigatoken", words, [])
    assert name == "tokenizers"
    assert reason.startswith("gigatoken does not support this tokenizer: Unsupported model type")


def shifted(wrong_for: str, error: bool = False) -> Callable[[bytes], Encode]:
    """A fast encoder that gets the texts with `wrong_for` in them wrong, or fails on them."""

    def make(definition: bytes) -> Encode:
        truth = make_encoder("tokenizers", definition)

        def encode(texts: Sequence[str]) -> Encoded:
            ids, lengths = truth(texts)
            if error and any(wrong_for in text for text in texts):
                raise RuntimeError("out of cheese")
            wrong = np.repeat([wrong_for in text for text in texts], lengths)
            return Encoded(np.where(wrong, ids + 1, ids).astype(np.int32), lengths)

        return encode

    return make


@pytest.mark.parametrize(("wrong_for", "shown"), [("unheard-of", "'an unheard-of word'"), ("HTTPServer", "'camelCase")])
def test_a_difference_in_the_sample_or_the_probes_rules_it_out(
    tiny: bytes, wrong_for: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoders, "_gigatoken", shifted(wrong_for))
    name, reason = choose_encoder("auto", tiny, ["plain", "an unheard-of word", "plain"])
    assert name == "tokenizers"
    assert f"gigatoken encodes {shown}" in reason


def test_a_failure_rules_it_out(tiny: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders, "_gigatoken", shifted("\U0010ffff", error=True))
    assert choose_encoder("auto", tiny, []) == ("tokenizers", "gigatoken fails: out of cheese")


def test_a_text_of_the_sample_that_cannot_be_encoded_does_not_stop_the_run(
    tiny: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    endless = {"type": "Replace", "pattern": {"Regex": "(.*?,){25}P"}, "content": "x"}
    definition = json.dumps({**json.loads(tiny), "normalizer": endless}).encode()
    name, reason = choose_encoder("auto", definition, ["1, 2, 3, " * 20])
    assert (name, "tokenizers fails on a text" in reason) == ("tokenizers", True)
    assert capfd.readouterr().err == ""  # the library would print its panic, and where it was


def test_the_fast_ids_may_come_from_elsewhere(tiny: bytes) -> None:
    def from_two(definition: bytes, texts: Sequence[str]) -> Encoded | str:
        return join([fast_ids(definition, texts[:7]), fast_ids(definition, texts[7:])])

    assert choose_encoder("auto", tiny, ["some text"], from_two) == ("gigatoken", "")
    one_fails = join([fast_ids(tiny, ["some text"]), "gigatoken fails: out of cheese"])
    assert choose_encoder("auto", tiny, [], lambda *_: one_fails) == ("tokenizers", "gigatoken fails: out of cheese")


def test_the_probes_are_different() -> None:
    assert len(set(PROBES)) == len(PROBES)


def test_the_bytes_do_not_depend_on_the_encoder(
    make_config: Callable[..., DataPrepConfig], write_rows: Callable, chat: Callable, tmp_path: Path, tiny: bytes
) -> None:
    write_rows("chat.jsonl", [chat(f"Frage {i}: où?", "Là-bas… 漢字 <|im_end|> 👍🏽\n\n  x" * i) for i in range(1, 30)])
    written = {}
    for encoder in ("gigatoken", "tokenizers"):
        config = make_config("chat.jsonl", encoder=encoder, pack_size=4096)
        config.output_dir = str(tmp_path / encoder)
        config.tokenizer.model = str(TINY.parent)
        result = prepare(config)
        assert result.encoder == EncoderChoice(encoder)
        folder = tmp_path / encoder
        written[encoder] = {
            path.relative_to(folder): path.read_bytes()
            for path in folder.rglob("*")
            if path.suffix in (".parquet", ".tokens", ".zst") or path.name == "plan.json"
        }
    assert len(written["gigatoken"]) == 4
    plans = [files.pop(next(p for p in files if p.name == "plan.json")) for files in written.values()]
    assert plans[0].replace(b"/gigatoken/", b"/tokenizers/") == plans[1]
    assert written["gigatoken"] == written["tokenizers"]


def test_truncation_and_padding_of_a_tokenizer_are_ignored(tiny: bytes, truth: Encode) -> None:
    """Every chunk would be cut, or filled up to the longest of its batch."""
    own = Tokenizer.from_str(tiny.decode())
    own.enable_truncation(2)
    own.enable_padding(length=7)
    texts = ["one two three four five six seven eight nine ten", "one"]
    for name in ("tokenizers", "gigatoken"):
        found, expected = make_encoder(name, own.to_str().encode())(texts), truth(texts)
        assert found.ids.tolist() == expected.ids.tolist()
        assert found.lengths.tolist() == expected.lengths.tolist()


@pytest.mark.parametrize("name", ["gigatoken", "tokenizers"])
def test_ids_are_shown_as_text_with_their_control_tokens_and_a_cut_character_as_such(
    tiny: bytes, truth: Encode, name: EncoderName
) -> None:
    ids, _ = truth(["<|im_end|>東"])
    decode = make_decoder(name, tiny)
    assert decode(ids.tolist()) == "<|im_end|>東"
    assert decode(ids.tolist()[:-1]) == "<|im_end|>\ufffd"


def test_the_same_ids_in_other_texts_are_a_difference(tiny: bytes, truth: Encode) -> None:
    def moved(definition: bytes, texts: Sequence[str]) -> Encoded:
        ids, lengths = truth(texts)
        lengths = lengths.copy()
        lengths[-2:] += [1, -1]
        return Encoded(ids, lengths)

    name, reason = choose_encoder("auto", tiny, ["some text", "some more text"], moved)
    assert (name, reason) == ("tokenizers", "gigatoken encodes 'some text' differently")


def test_the_tokens_that_a_tokenizer_adds_to_each_text_are_left_out(tiny: bytes, truth: Encode) -> None:
    own = Tokenizer.from_str(tiny.decode())
    end = own.token_to_id("<|im_end|>")
    own.post_processor = processors.TemplateProcessing(single="<|im_end|> $A", special_tokens=[("<|im_end|>", end)])
    assert make_encoder("tokenizers", own.to_str().encode())(["one"]).ids.tolist() == truth(["one"]).ids.tolist()


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError])
def test_who_stops_the_run_stops_the_choice(
    tiny: bytes, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def stop(backend: object) -> Encode:
        raise error

    monkeypatch.setattr(encoders, "_tokenizers", stop)
    with pytest.raises(error):
        choose_encoder("auto", tiny, [])


def test_a_difference_is_shown_with_sixty_characters(tiny: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders, "_gigatoken", shifted("unheard-of"))
    text = "unheard-of " * 9
    assert choose_encoder("auto", tiny, [text]).reason == f"gigatoken encodes {text[:60]!r} differently"


def test_a_process_that_forks_loads_the_fast_encoder_without_using_it(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[bytes] = []
    monkeypatch.setattr(encoders, "_gigatoken", loaded.append)
    encoders.load_fast(b"definition")
    assert loaded == [b"definition"]


def test_without_a_place_for_errors_nothing_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(number: int) -> int:
        raise OSError("closed")

    monkeypatch.setattr(os, "dup", fail)
    with encoders._no_panic_messages():
        assert encoders._first_line(ValueError()) == "ValueError"
