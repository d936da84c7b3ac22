import pytest

from nemotron.config.secrets import holds_secret, is_secret, mask_text, masked


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


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("s3://KEY:SECRET@bucket/path", "s3://***@bucket/path"),
        ("postgres://u:p@host/db and more", "postgres://***@host/db and more"),
        ("https://ghtoken@host/x", "https://***@host/x"),
        ("main hf_abcdefghijklmnop", "main ***"),
    ],
)
def test_credentials_are_found_in_any_text(text: str, shown: str):
    assert mask_text(text) == shown
    assert masked({"revision": [text]}) == {"revision": [shown]}


@pytest.mark.parametrize("text", ["ssh://me@host/x", "http://host:80/a@b", "hf_home", "a:b@c", "/data/x@y:z", ""])
def test_what_only_looks_like_credentials_is_left(text: str):
    assert not holds_secret(text)
