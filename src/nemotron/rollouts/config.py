"""Define the rollouts config: the schema of `config/rollouts/*.yaml`."""

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from nemotron.config import PathSetting
from nemotron.data_prep.config import RowFormat
from nemotron.errors import UserError


@dataclass
class PromptsConfig:
    """Which prompts to complete."""

    source: PathSetting = ""
    """A blend file, chat data as a blend's `path` names it, or an artifact: prepared data, or earlier rollouts."""
    samples: int | None = None
    """Number of different prompts, in the shares of the blend; null takes as many as there are."""
    seed: int = 42
    """Seed that selects the prompts."""
    per_prompt: int = 1
    """Completions per prompt."""
    messages_field: str = "messages"
    """The row's field with the messages, as in data prep."""
    tools_field: str = "tools"
    """The row's field with the tools, as in data prep."""
    format: RowFormat = "auto"
    """How rows hold their conversations, as in data prep."""
    used_in_filter: str | None = None
    """Take only rows whose `used_in_field` names this stage."""
    used_in_field: str = "used_in"
    """The row's field that lists the stages it is meant for."""
    reference_field: str = "expected_answer"
    """The row's field with the right answer; without it, the conversation's own answer is the reference."""


@dataclass
class EndpointConfig:
    """Where the model is served, and how many requests it may get."""

    base_url: str = "http://localhost:8000/v1"
    """Address of an OpenAI-compatible server; it mostly ends with `/v1`."""
    model: str | None = None
    """The name of the model at the endpoint; null takes the only one served."""
    api_key_env: str = "OPENAI_API_KEY"
    """The environment variable with the key. The key is read only from there, and never written."""
    concurrency: int = 32
    """Requests at a time."""
    requests_per_minute: int | None = None
    """A rate limit, evenly spaced; null is none."""
    timeout_s: float = 600
    """Seconds after which an unanswered request is sent again."""
    retries: int = 8
    """How often a request is sent again after a temporary failure."""
    backoff_s: float = 1.0
    """Seconds before the first retry; doubled for each further retry, up to a minute."""
    longest_wait_s: float = 600
    """The longest Retry-After to wait for; a longer one ends the run, which can be resumed."""
    skip_failed: bool = False
    """Publish without the prompts that failed after all retries, instead of stopping with an error."""


@dataclass
class SamplingConfig:
    """Sampling parameters, recorded with every row."""

    temperature: float = 1.0
    """As the API has it."""
    top_p: float = 1.0
    """As the API has it."""
    max_tokens: int = 16384
    """Limit for thought and answer together."""
    seed: int = 42
    """Each request gets its own seed, made from this number and the prompt, so that it is the same every time."""
    chat_template_kwargs: dict[str, Any] = field(default_factory=dict)
    """For the server's template, such as {low_effort: true}. Rows record it, so that they train in that mode."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Further keys for the body of each request, such as {top_k: 20}."""


@dataclass
class FilterConfig:
    """Which completions become rows. A changed filter needs no new completions."""

    min_tokens: int | None = None
    """Least tokens of thought and answer, as the server counts them."""
    max_tokens: int | None = None
    """The same, at most."""
    exact_match: bool = False
    """Keep only answers that equal the reference, as a whole or in their last \\boxed{}."""
    function: str | None = None
    """`package.module:function`, called with each row; rows for which it returns false are left out."""


@dataclass
class RolloutsRunConfig:
    """Where the run is recorded."""

    artifacts: PathSetting = "output/artifacts"
    """The folder of the artifact records."""


@dataclass
class RolloutsConfig:
    """The whole rollouts config."""

    prompts: PromptsConfig = field(default_factory=PromptsConfig)
    endpoint: EndpointConfig = field(default_factory=EndpointConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    filter: FilterConfig = field(default_factory=FilterConfig)
    model_artifact: PathSetting | None = None
    """The artifact of the served model, recorded as an input of the rollouts."""
    output_dir: PathSetting = "output/rollouts"
    """Where the result goes."""
    config_name: str = "default"
    """Also the alias of the artifact: `RolloutArtifact-sft:<config_name>`."""
    run: RolloutsRunConfig = field(default_factory=RolloutsRunConfig)
    force: bool = False
    """Request every completion again, even those in the journal."""


def check(config: RolloutsConfig) -> None:
    """Refuse values that types cannot exclude.

    Raises:
        UserError: A number is out of range, there are no prompts, the address is not one or contains a password, or
            api_key_env is a key instead of the name of a variable.
    """
    if not config.prompts.source.strip():
        raise UserError("prompts.source is empty.", "Name a blend file, a file of chat data, or an artifact.")
    for key in ("output_dir", "run.artifacts", "prompts.messages_field", "prompts.tools_field", "config_name"):
        if not str(_value(config, key)).strip():
            raise UserError(f"{key} is empty.", "Give it a value, or leave it out for the default.")
    for key, (least, most) in _RANGES.items():
        value = _value(config, key)
        if value is not None and not least <= value <= most:
            raise UserError(f"{key} is {value:g}.", f"It must be from {least:g} to {most:g}.")
    least, most = config.filter.min_tokens, config.filter.max_tokens
    if least is not None and most is not None and least > most:
        raise UserError(
            f"filter.min_tokens is {least}, filter.max_tokens {most}.",
            "Lower filter.min_tokens; otherwise no completion is kept.",
        )
    _check_address(config.endpoint)
    reserved = sorted({"model", "messages", "tools", "stream", "n"} & set(config.sampling.extra))
    if reserved:
        raise UserError(
            f"sampling.extra sets {reserved[0]}, which every request sets itself.", "Remove it from sampling.extra."
        )


_MOST = 2**31 - 1
_RANGES: dict[str, tuple[float, float]] = {
    "prompts.samples": (1, _MOST), "prompts.seed": (0, _MOST), "prompts.per_prompt": (1, 1000),
    "endpoint.concurrency": (1, 4096), "endpoint.requests_per_minute": (1, 1e6), "endpoint.timeout_s": (0.01, 86400),
    "endpoint.retries": (0, 100), "endpoint.backoff_s": (0, 60), "endpoint.longest_wait_s": (0, 86400),
    "sampling.temperature": (0, 10), "sampling.top_p": (0.0001, 1), "sampling.max_tokens": (1, _MOST),
    "sampling.seed": (0, _MOST), "filter.min_tokens": (0, _MOST), "filter.max_tokens": (1, _MOST),
}  # fmt: skip


def _value(config: RolloutsConfig, key: str) -> Any:
    value: Any = config
    for name in key.split("."):
        value = getattr(value, name)
    return value


def _check_address(endpoint: EndpointConfig) -> None:
    try:
        parts = urlsplit(endpoint.base_url)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise UserError("endpoint.base_url is not an address.", "Write it as http://HOST:PORT/v1.") from None
    if parts.username is not None or parts.password is not None or parts.query:
        raise UserError(
            "endpoint.base_url contains a user name, a password or a query, which would be written to disk.",
            "Put the key into the environment variable that endpoint.api_key_env names.",
        )
    if not is_address:
        raise UserError(f'endpoint.base_url is "{endpoint.base_url}".', "Write it as http://HOST:PORT/v1.")
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", endpoint.api_key_env):
        raise UserError(
            "endpoint.api_key_env is not the name of an environment variable.",
            "Set it to the name of a variable, such as OPENAI_API_KEY, and put the key into that variable.",
        )
