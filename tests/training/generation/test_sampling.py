"""What generation_config.json may hold, and how the rest is refused: before the first token."""

import json

import pytest

from nemotron.errors import UserError
from nemotron.training.generation.sampling import GENERATION_CONFIG, Sampling, read_sampling

VOCAB_SIZE = 100


def write(folder, content):
    (folder / GENERATION_CONFIG).write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return folder


def test_a_model_without_the_file_has_all_defaults(tmp_path):
    assert read_sampling(tmp_path, VOCAB_SIZE) == Sampling()
    assert Sampling().as_options() == {}


def test_what_a_chat_needs_is_taken_and_the_rest_is_not(tmp_path):
    content = {"eos_token_id": [5, 99], "do_sample": True, "temperature": 0.6, "top_p": 0.95, "num_beams": 4}
    sampling = read_sampling(write(tmp_path, content), VOCAB_SIZE)
    assert sampling.ends == [5, 99]
    assert sampling.as_options() == {"eos_token_id": [5, 99], "do_sample": True, "temperature": 0.6, "top_p": 0.95}
    assert read_sampling(write(tmp_path, {"eos_token_id": 5}), VOCAB_SIZE).ends == [5]


def test_a_temperature_of_0_is_for_models_that_do_not_sample(tmp_path):
    assert read_sampling(write(tmp_path, {"temperature": 0.0, "do_sample": False}), VOCAB_SIZE).temperature == 0


@pytest.mark.parametrize("content", [b"", b"\0" * 40, b'{"eos_tok', b"[]", b"null", b'"x"', b"[" * 100_000, b"\xff{}"])
def test_a_damaged_file_is_named(tmp_path, content):
    """transformers ignores most of these, so that a reply would have another temperature, or no end."""
    with pytest.raises(UserError, match=GENERATION_CONFIG):
        read_sampling(write(tmp_path, content), VOCAB_SIZE)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("eos_token_id", "x"),
        ("eos_token_id", [1, "x"]),
        ("eos_token_id", 1.5),
        ("eos_token_id", True),
        ("eos_token_id", -1),
        ("eos_token_id", VOCAB_SIZE),
        ("eos_token_id", [5, 10**30]),
        ("do_sample", "yes"),
        ("temperature", "hot"),
        ("temperature", 0),
        ("temperature", -1),
        ("temperature", float("inf")),
        ("temperature", float("nan")),
        ("top_k", -3),
        ("top_k", 0.5),
        ("top_p", 0),
        ("top_p", 5),
        ("min_p", -0.1),
        ("typical_p", 0),
        ("repetition_penalty", 0),
        ("top_k", -1),
        *((key, 1.01) for key in ("top_p", "min_p", "typical_p")),
        *((key, 2 * 10**9) for key in ("temperature", "top_k", "repetition_penalty")),
    ],
)
def test_a_value_that_cannot_be_used_is_named(tmp_path, key, value):
    with pytest.raises(UserError, match=key):
        read_sampling(write(tmp_path, {"do_sample": True, key: value}), VOCAB_SIZE)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("temperature", 0.01), ("temperature", 1e9), ("top_k", 0), ("top_k", 10**9), ("top_p", 0.01), ("top_p", 1),
        ("min_p", 0), ("min_p", 1), ("typical_p", 0.01), ("typical_p", 1), ("repetition_penalty", 0.01),
        ("repetition_penalty", 1e9), ("eos_token_id", 0), ("eos_token_id", VOCAB_SIZE - 1),
    ],
)  # fmt: skip
def test_the_ends_of_ranges_may_be_used(tmp_path, key, value):
    assert getattr(read_sampling(write(tmp_path, {key: value}), VOCAB_SIZE), key) == value
