"""A world small enough to reason about: one token per byte, and a run that writes into a temporary folder."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.data_prep.small_run import Row, make_config_in, write_rows_in
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from nemotron.data_prep.config import DataPrepConfig

SPECIAL_TOKENS = ["<|im_start|>", "<|im_end|>", "<think>", "</think>"]


@pytest.fixture(scope="session")
def byte_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer folder: every byte a token, and the chat format's special tokens; eos is `<|im_end|>`."""
    folder = tmp_path_factory.mktemp("tokenizer")
    vocab = {byte: number for number, byte in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": {"content": "<|im_end|>"}}))
    return folder


@pytest.fixture(scope="session")
def decode(byte_tokenizer: Path) -> Callable[[list[int]], str]:
    """Token ids to text, special tokens shown."""
    tokenizer = Tokenizer.from_file(str(byte_tokenizer / "tokenizer.json"))
    return lambda ids: tokenizer.decode(ids, skip_special_tokens=False)


@pytest.fixture
def write_rows(tmp_path: Path) -> Callable[[str, list[Row]], Path]:
    """Write rows as JSONL into the test's folder."""
    return partial(write_rows_in, tmp_path)


@pytest.fixture
def make_config(tmp_path: Path, byte_tokenizer: Path) -> Callable[..., DataPrepConfig]:
    """A config for the named files of the test's folder as one blend, in this process, everything into train."""
    return partial(make_config_in, tmp_path, byte_tokenizer)


@pytest.fixture(scope="session")
def chat() -> Callable[..., Row]:
    """A row in which user and assistant take turns, the user first: `chat("Hi", "Hello", used_in=["x"])`."""

    def make(*turns: str, **extra: Any) -> Row:
        roles = ("user", "assistant")
        return {"messages": [{"role": roles[i % 2], "content": text} for i, text in enumerate(turns)], **extra}

    return make
