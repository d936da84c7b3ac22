"""Settings that are refused before anything is asked."""

import pytest

from nemotron.errors import UserError
from nemotron.rollouts.config import RolloutsConfig, check


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("prompts.source", " "),
        ("endpoint.base_url", "localhost:8000"),
        ("endpoint.base_url", "http://me:secret@host/v1"),
        ("endpoint.base_url", "http://host:99999/v1"),
        ("endpoint.api_key_env", "sk-a-key-itself"),
        ("endpoint.concurrency", 0),
        ("endpoint.timeout_s", float("nan")),
        ("sampling.top_p", 0.0),
        ("sampling.temperature", -1.0),
        ("prompts.samples", 0),
        ("filter.max_tokens", 0),
    ],
)
def test_check_names_the_key_and_keeps_secrets(key, value):
    config = RolloutsConfig()
    config.prompts.source = "chat.jsonl"
    section, name = key.split(".")
    setattr(getattr(config, section), name, value)
    with pytest.raises(UserError, match=key.replace(".", r"\.")) as error:
        check(config)
    assert "secret@" not in str(error.value)
    assert "sk-a-key" not in str(error.value)


def test_reserved_keys_of_a_request_are_refused():
    config = RolloutsConfig()
    config.prompts.source = "chat.jsonl"
    config.sampling.extra = {"stream": True}
    with pytest.raises(UserError, match="stream"):
        check(config)
