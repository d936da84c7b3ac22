"""A text that the library gives up on costs its row, whatever encodes, and no other row."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nemotron.data_prep.chat.template import load_template
from nemotron.data_prep.config import DataPrepConfig, TokenizerConfig
from nemotron.data_prep.drop_reasons import DropReason, RowError
from nemotron.data_prep.inspection.rows import inspect_file
from nemotron.data_prep.pipeline import prepare
from nemotron.data_prep.tokenization import safe_encoding
from nemotron.data_prep.tokenizer import encoders
from nemotron.data_prep.tokenizer.load import load_tokenizer


class Panic(BaseException):
    """As the library's own: no Exception."""


@pytest.fixture
def panicking(monkeypatch: pytest.MonkeyPatch) -> None:
    """`tokenizers`, which panics at a text with XXXX, and is asked too where a text is long."""
    monkeypatch.setattr(safe_encoding, "LONG_TEXT", 4)

    class Backend:
        def __init__(self, backend: Any) -> None:
            self._backend = backend

        def __getattr__(self, name: str) -> Any:
            return getattr(self._backend, name)

        def encode_batch_fast(self, texts: list[str], **options: Any) -> Any:
            if any("XXXX" in text for text in texts):
                raise Panic("Regex search error: retry-limit-in-match over\nwith a second line")
            return self._backend.encode_batch_fast(texts, **options)

    real = encoders.hugging_face
    for module in (encoders, safe_encoding):
        monkeypatch.setattr(module, "hugging_face", lambda definition: Backend(real(definition)))


@pytest.mark.usefixtures("panicking")
@pytest.mark.parametrize("encoder", ["tokenizers", "gigatoken"])
def test_a_text_that_cannot_be_encoded_costs_its_row(
    make_config: Callable[..., DataPrepConfig], write_rows: Callable, chat: Callable, encoder: str
) -> None:
    kept = [chat("Hi", "Hello"), chat("How are you?", "Fine.")]
    # Beyond the sample by which the encoder is chosen.
    write_rows("chat.jsonl", [kept[0], chat("Hi", "word " * 500 + "XXXX"), kept[1]])
    result = prepare(make_config("chat.jsonl", encoder=encoder, pack_size=8192))
    assert result.encoder == encoders.EncoderChoice(encoder)
    [dataset] = result.metadata.datasets
    assert (dataset.kept, dataset.dropped) == (2, {"not_encoded": 1})
    write_rows("chat.jsonl", kept)
    assert prepare(make_config("chat.jsonl", encoder=encoder, pack_size=8192)).metadata.tokens == result.metadata.tokens


@pytest.mark.usefixtures("panicking")
def test_inspect_names_the_row(write_rows: Callable, chat: Callable, byte_tokenizer: Path) -> None:
    path = write_rows("chat.jsonl", [chat("Hi", "Hello"), chat("Hi", "XXXX")])
    tokenizer = load_tokenizer(TokenizerConfig(str(byte_tokenizer)))
    kept, dropped = inspect_file(path, load_template("nemotron3"), tokenizer)
    assert kept["outcome"] == "kept"
    assert (dropped["outcome"], dropped["reason"]) == ("dropped", "not_encoded")
    assert "retry-limit-in-match over" in dropped["detail"]
    assert "second line" not in dropped["detail"]


def test_a_fault_of_this_program_is_no_fault_of_the_row() -> None:
    with pytest.raises(ValueError, match="ours"), safe_encoding.failures_cost_their_row():
        raise ValueError("ours")
    with pytest.raises(KeyboardInterrupt), safe_encoding.failures_cost_their_row():
        raise KeyboardInterrupt


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError])
def test_who_stops_the_run_is_no_fault_of_the_row(stop: type[BaseException]) -> None:
    with pytest.raises(stop), safe_encoding.failures_cost_their_row():
        raise stop


@pytest.mark.parametrize(
    ("error", "reason"),
    [(Exception("odd\nand more"), "odd"), (RuntimeError(), "RuntimeError"), (Panic(" late "), "late")],
)
def test_what_the_library_says_of_a_text_is_its_first_line(error: BaseException, reason: str) -> None:
    with pytest.raises(RowError) as refused, safe_encoding.failures_cost_their_row():
        raise error
    assert refused.value.reason == DropReason.NOT_ENCODED
    assert refused.value.detail == f"the tokenizer's library fails on a text: {reason}"
