"""A world small enough to reason about: one token per byte, and a run that writes into a temporary folder."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from nemotron.data_prep.config import BlendConfig, DataPrepConfig, PrepRunConfig, TokenizerConfig

# A busy machine is no fault of the code: tests do not depend on how long anything takes.
hypothesis.settings.register_profile("no_deadline", deadline=None)
hypothesis.settings.load_profile("no_deadline")

SPECIAL_TOKENS = ["<|im_start|>", "<|im_end|>", "<think>", "</think>"]
Row = dict[str, Any]


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

    def write(name: str, rows: list[Row]) -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        return path

    return write


@pytest.fixture
def make_config(tmp_path: Path, byte_tokenizer: Path) -> Callable[..., DataPrepConfig]:
    """A config for the named files of the test's folder as one blend, in this process, everything into train."""

    def make(*files: str, blend: dict[str, Any] | None = None, **settings: Any) -> DataPrepConfig:
        blend_path = tmp_path / "blend.json"
        blend_path.write_text(json.dumps(blend or {"datasets": [{"path": file} for file in files]}))
        defaults = {"train_ratio": 1.0, "valid_ratio": 0.0, "test_ratio": 0.0, "workers": 1, "pack_size": 256}
        samples = settings.pop("blend.samples", None)
        return DataPrepConfig(
            blend_path=str(blend_path),
            blend=BlendConfig(samples=samples),
            output_dir=str(tmp_path / "out"),
            tokenizer=TokenizerConfig(model=str(byte_tokenizer)),
            run=PrepRunConfig(artifacts=str(tmp_path / "artifacts")),
            **{**defaults, **settings},
        )

    return make


@pytest.fixture(scope="session")
def chat() -> Callable[..., Row]:
    """A row in which user and assistant take turns, the user first: `chat("Hi", "Hello", used_in=["x"])`."""

    def make(*turns: str, **extra: Any) -> Row:
        roles = ("user", "assistant")
        return {"messages": [{"role": roles[i % 2], "content": text} for i, text in enumerate(turns)], **extra}

    return make
