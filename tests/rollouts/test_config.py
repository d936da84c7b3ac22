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
        ("output_dir", ""),
        ("run.artifacts", " "),
        ("prompts.messages_field", ""),
        ("endpoint.base_url", "http://host/v1?key=secret@"),
        ("endpoint.base_url", "http://me@host/v1"),
        ("endpoint.base_url", "http://:secret@host/v1"),
        ("endpoint.base_url", "http://host:0/v1"),
        ("endpoint.base_url", "ftp://host/v1"),
        ("endpoint.base_url", "http:///v1"),
        ("sampling.top_p", 1.01),
        ("endpoint.retries", 101),
    ],
)
def test_check_names_the_key_and_keeps_secrets(key, value):
    config = RolloutsConfig()
    config.prompts.source = "chat.jsonl"
    section, _, name = key.rpartition(".")
    setattr(getattr(config, section) if section else config, name, value)
    with pytest.raises(UserError, match=key.replace(".", r"\.")) as error:
        check(config)
    assert "secret@" not in str(error.value)
    assert "sk-a-key" not in str(error.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("endpoint.base_url", "https://host/v1"),
        ("endpoint.retries", 0),
        ("endpoint.retries", 100),
        ("sampling.temperature", 0.0),
        ("sampling.top_p", 1.0),
        ("endpoint.requests_per_minute", None),
        ("prompts.per_prompt", 1000),
    ],
)
def test_the_ends_of_a_range_are_in_it(key, value):
    config = RolloutsConfig()
    config.prompts.source = "chat.jsonl"
    section, name = key.split(".")
    setattr(getattr(config, section), name, value)
    check(config)


def test_a_length_that_none_has_is_refused():
    config = RolloutsConfig()
    config.prompts.source = "chat.jsonl"
    config.filter.min_tokens = config.filter.max_tokens = 20
    check(config)
    config.filter.min_tokens = 21
    with pytest.raises(UserError, match=r"filter\.min_tokens is 21, filter\.max_tokens 20"):
        check(config)


def test_reserved_keys_of_a_request_are_refused():
    config = RolloutsConfig()
    config.prompts.source = "chat.jsonl"
    config.sampling.extra = {"stream": True}
    with pytest.raises(UserError, match="stream"):
        check(config)


@pytest.mark.parametrize("name", ["model", "messages", "tools", "stream", "n"])
def test_what_every_request_sets_is_no_extra(name):
    config = RolloutsConfig()
    config.prompts.source, config.sampling.extra = "chat.jsonl", {name: 1}
    with pytest.raises(UserError, match=rf"sampling\.extra sets {name}"):
        check(config)


@pytest.mark.parametrize(
    ("key", "least", "most", "step"),
    [
        ("prompts.samples", 1, 2**31 - 1, 1), ("prompts.seed", 0, 2**31 - 1, 1), ("prompts.per_prompt", 1, 1000, 1),
        ("endpoint.concurrency", 1, 4096, 1), ("endpoint.requests_per_minute", 1, 10**6, 1),
        ("endpoint.timeout_s", 0.01, 86400, 0.001), ("endpoint.retries", 0, 100, 1),
        ("endpoint.backoff_s", 0, 60, 0.1), ("endpoint.longest_wait_s", 0, 86400, 0.1),
        ("sampling.temperature", 0, 10, 0.1), ("sampling.top_p", 0.0001, 1, 0.00001),
        ("sampling.max_tokens", 1, 2**31 - 1, 1), ("sampling.seed", 0, 2**31 - 1, 1),
        ("filter.min_tokens", 0, 2**31 - 1, 1), ("filter.max_tokens", 1, 2**31 - 1, 1),
    ],
)  # fmt: skip
def test_every_number_has_its_range(key, least, most, step):
    def check_with(value):
        config = RolloutsConfig()
        config.prompts.source = "chat.jsonl"
        section, _, name = key.rpartition(".")
        setattr(getattr(config, section), name, value)
        check(config)

    check_with(least)
    check_with(most)
    for value in (least - step, most + step):
        with pytest.raises(UserError, match=key.replace(".", r"\.")):
            check_with(value)
