import pytest

from nemotron.config.secrets import is_secret, masked


@pytest.mark.parametrize(
    "key",
    [
        "hf_token",
        "logger.wandb_api_key",
        "HF_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "db.password",
        "key",
        "api-key",
        "apikey",
    ],
)
def test_secrets(key):
    assert is_secret(key)


@pytest.mark.parametrize(
    "key",
    [
        "tokenizer",
        "tokenizer.model",
        "max_doc_tokens",
        "eos_token",
        "special_tokens_in_content",
        "text_key",
        "seed",
        "",
    ],
)
def test_not_secrets(key):
    assert not is_secret(key)


def test_masking_replaces_text_under_a_secrets_key_and_nothing_else():
    tree = {"hf_token": "hf_x", "keys": {"api_key": ["a", "b"]}, "wandb_key": None, "secret": "", "lr": 1, "n": "x"}
    assert masked(tree) == {
        "hf_token": "***",
        "keys": {"api_key": ["***", "***"]},
        "wandb_key": None,
        "secret": "",
        "lr": 1,
        "n": "x",
    }
    assert tree["hf_token"] == "hf_x"
