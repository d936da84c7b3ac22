"""Define the data-prep config: the schema of `config/data_prep/*.yaml`."""

from dataclasses import dataclass, field
from typing import Literal

from nemotron.config.path_settings import PathSetting
from nemotron.errors import UserError

Algorithm = Literal["first_fit_shuffle", "first_fit_decreasing", "best_fit", "concatenative"]
OverlongPolicy = Literal["split_turns", "truncate", "drop"]
RowFormat = Literal["auto", "openai", "sharegpt", "prompt_completion"]
WITH_MESSAGES = frozenset[RowFormat](("auto", "openai", "sharegpt"))
"""The formats of rows with a list of messages. Only their rows may be read in a faster way, past `find_messages`."""
SpecialTokensPolicy = Literal["keep", "split", "drop"]
EngineName = Literal["local", "ray"]
EncoderSetting = Literal["auto", "gigatoken", "tokenizers"]


LARGEST_NUMBER = 2**31 - 1
"""Upper limit of every count and seed; positions in a pack are stored as int32."""


@dataclass
class TokenizerConfig:
    """Which tokenizer turns text into ids; it must be the model's."""

    model: PathSetting = "nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-BF16"
    """A Hugging Face id, or a folder with tokenizer.json."""
    revision: str | None = None
    """Branch, tag or commit of a Hugging Face id."""
    trust_remote_code: bool = False
    """Run Python code shipped with the tokenizer."""


@dataclass
class PrepRunConfig:
    """Where the run is recorded."""

    artifacts: PathSetting = "output/artifacts"
    """The folder of the artifact records, where `nemotron super3 sft` looks for prepared data."""


@dataclass
class BlendConfig:
    """How to use the blend."""

    samples: int | None = None
    """Conversations in the mix (in the training split, if the blend lists splits); by default as many as the shares
    allow without repeating any."""


@dataclass
class BudgetConfig:
    """Which thoughts are cut to a token budget, and how."""

    share: float = 0.0
    """Share of the conversations with reasoning."""
    tokens: list[int] = field(default_factory=lambda: [128, 8192])
    """The smallest and the largest budget."""
    spacing: Literal["log", "linear"] = "log"
    """How budgets are drawn between the two."""
    tell: bool = True
    """Write the budget into the last user turn."""
    train: Literal["answer", "all"] = "answer"
    """Supervise only from the closing tag on, or the cut thought too."""
    cut: Literal["token", "newline"] = "token"
    """Cut at a token, or at the last newline within 10 % of the budget."""


@dataclass
class DatasetReasoning:
    """The `reasoning` of a dataset in a blend; its keys replace the config's."""

    off: float
    effort: Literal["low"] | None
    """`low`: its thoughts are short, and its conversations carry the low-effort flag."""
    budget: BudgetConfig


@dataclass
class ReasoningConfig:
    """In which modes conversations with reasoning train; by default all as they are."""

    off: float = 0.0
    """Share of them whose reasoning is removed."""
    low_effort: float = 0.0
    """Share of the mix from datasets with `effort: low`; 0 uses their weights."""
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    seed: int = 42
    """Decides which conversations are chosen, and their budgets."""


@dataclass
class DataPrepConfig:
    """The whole data-prep config. Lengths are in tokens, ratios sum to 1."""

    blend_path: PathSetting = ""
    """A blend file, which lists datasets and their shares with paths relative to it, or chat data itself."""
    blend: BlendConfig = field(default_factory=BlendConfig)
    strict: bool = False
    """Refuse a blend with domains without data; otherwise the other domains get larger shares."""
    output_dir: PathSetting = "output/stage1_sft"
    """Where the result goes."""
    config_name: str = "default"
    """Also the alias of the artifact: `SFTDataArtifact-sft:<config_name>`."""
    run: PrepRunConfig = field(default_factory=PrepRunConfig)

    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    encoder: EncoderSetting = "auto"
    """The library that encodes, by name, or `auto` for the fastest with the same ids as Hugging Face's `tokenizers`. It
    does not change the output."""
    chat_template: PathSetting = "nemotron3"
    """A bundled template, the path of a Jinja file, or `tokenizer` for the tokenizer's own."""
    format: RowFormat = "auto"
    """The format of conversations in rows: `auto` detects it for each row; otherwise it is the same for all."""
    messages_field: str = "messages"
    """The row's field with the messages."""
    tools_field: str = "tools"
    """The row's field with the tools on offer."""
    used_in_filter: str | None = None
    """Keep only rows whose `used_in_field` names this stage."""
    used_in_field: str = "used_in"
    """The row's field that lists the stages it is meant for."""
    strict_fields: bool = False
    """Drop rows with unused fields that are not empty. Such fields are counted either way."""

    pack_size: int = 4096
    """Tokens per pack."""
    algorithm: Algorithm = "first_fit_shuffle"
    """Which pack a sequence goes into."""
    pad_to_multiple: int = 1
    """Pad each sequence to a multiple of this (2 x context parallel size), plus one token for the shift."""
    overlong: OverlongPolicy = "split_turns"
    """What to do with a conversation over the limit: keep whole turns up to the last answer that fits, cut it at the
    limit, or drop it."""
    max_doc_tokens: int | None = None
    """A limit on the length of conversations below pack_size."""
    special_tokens_in_content: SpecialTokensPolicy = "keep"
    """What to do with control tokens written out in a conversation: keep their meaning, as chat templates do, encode
    them as text, or drop the conversation. They are counted either way."""
    reasoning: ReasoningConfig = field(default_factory=ReasoningConfig)
    dedupe: bool = False
    """Keep only the first of identical conversations. They are counted either way."""
    seed: int = 42
    """Decides the packing order and which conversations a weighted blend takes."""

    train_ratio: float = 0.98
    """Share of the conversations for training. The three ratios sum to 1."""
    valid_ratio: float = 0.01
    """Share for validation while training."""
    test_ratio: float = 0.01
    """Share for the test split."""

    num_shards: int = 128
    """The most Parquet files per split; there are fewer if they would be small."""
    parquet_row_group_size: int = 256
    """Packs per row group, the unit a trainer reads."""
    parquet_compression: Literal["zstd", "snappy", "gzip", "lz4", "none"] = "zstd"
    """The compression of the shards."""

    sample: int | None = None
    """Take only this many conversations per dataset, and write them to their own folder below output_dir."""
    sample_seed: int = 42
    """Which conversations `sample` takes."""
    force: bool = False
    """Discard the output of an earlier run with the same inputs, and start again."""
    engine: EngineName = "local"
    """Where the work runs: in processes on this machine, or on a Ray cluster. Does not change the output."""
    ray_address: str | None = None
    """Address of a running Ray cluster; by default RAY_ADDRESS, else a new cluster on this machine."""
    workers: int | None = None
    """Number of workers; by default one per available core. Does not change the output."""


def check(config: DataPrepConfig) -> None:
    """Refuse values that types cannot exclude.

    Raises:
        UserError: A value is out of range, or two values contradict each other.
    """
    ratios = (config.train_ratio, config.valid_ratio, config.test_ratio)
    # Negated so that nan is refused too.
    if not (min(ratios) >= 0 and abs(sum(ratios) - 1) <= 1e-6):
        raise UserError(
            f"train_ratio, valid_ratio and test_ratio are {ratios[0]:g}, {ratios[1]:g} and {ratios[2]:g}.",
            "They must be at least 0 and sum to 1.",
        )
    at_least = {"pack_size": 2, "max_doc_tokens": 2, "num_shards": 1, "parquet_row_group_size": 1, "workers": 1}
    for key, least in {**at_least, "sample": 1, "pad_to_multiple": 1, "seed": 0, "sample_seed": 0}.items():
        _check_number(key, getattr(config, key), least)
    _check_number("blend.samples", config.blend.samples, 1)
    for key in ("output_dir", "messages_field", "tools_field", "used_in_field", "chat_template"):
        if not getattr(config, key).strip():
            raise UserError(f"{key} is empty.", "Give it a value, or leave it out for the default.")
    if not config.run.artifacts.strip():
        raise UserError("run.artifacts is empty.", "Name a folder, or leave it out for the default.")
    if config.pad_to_multiple >= config.pack_size:
        raise UserError(
            f"pad_to_multiple is {config.pad_to_multiple}, pack_size {config.pack_size}.",
            "Set pad_to_multiple to 2 x the context parallel size, and pack_size to a much larger number.",
        )
    _check_number("reasoning.seed", config.reasoning.seed, 0)
    if not 0 <= config.reasoning.low_effort < 1:
        raise UserError(
            f"reasoning.low_effort is {config.reasoning.low_effort:g}.", "Use a share of at least 0 and below 1."
        )
    check_reasoning(config.reasoning.off, config.reasoning.budget, "reasoning.")
    if not config.blend_path:
        raise UserError("No data is given.", "Set blend_path to a blend file, or to chat data: a file, folder or URL.")


SMALLEST_BUDGET = 8
"""The smallest budget in tokens; newlines next to the think tags count too."""


def check_reasoning(off: float, budget: BudgetConfig, section: str = "") -> None:
    """Refuse shares outside 0 to 1, and budgets out of order.

    `section` is the prefix of their keys in messages.
    """
    for key, share in (("off", off), ("budget.share", budget.share)):
        if not 0 <= share <= 1:
            raise UserError(f"{section}{key} is {share:g}.", "It must be a share from 0 to 1.")
    if off + budget.share > 1:
        raise UserError(
            f"{section}off and {section}budget.share are {off:g} and {budget.share:g}.",
            "Their sum must be at most 1, because a conversation gets one mode.",
        )
    bounds = budget.tokens
    if len(bounds) != 2 or not SMALLEST_BUDGET <= bounds[0] <= bounds[1] <= LARGEST_NUMBER:
        raise UserError(
            f"{section}budget.tokens is {bounds}.",
            f"Write the smallest and the largest budget, such as [128, 8192]; at least {SMALLEST_BUDGET}.",
        )


def _check_number(key: str, value: int | None, least: int) -> None:
    if value is not None and value < least:
        raise UserError(f"{key} is {value}.", f"It must be at least {least}.")
    if value is not None and value > LARGEST_NUMBER:
        raise UserError(f"{key} is {value}.", f"It must be at most {LARGEST_NUMBER:,}.")


SPLITS = ("train", "valid", "test")
