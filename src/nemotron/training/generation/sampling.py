"""Read generation_config.json as far as a chat needs it.

transformers ignores a file that it cannot parse, fails late on values of another type, and lets the file switch on
anything else that it can do, such as assisted generation.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nemotron.errors import UserError
from nemotron.files.regular_files import read_text
from nemotron.files.typed import typed

_LARGEST = 1e9
GENERATION_CONFIG = "generation_config.json"
_RANGES = {
    "temperature": (0, _LARGEST),
    "top_k": (-1, _LARGEST),
    "top_p": (0, 1),
    "min_p": (-1e-9, 1),
    "typical_p": (0, 1),
    "repetition_penalty": (0, _LARGEST),
}
"""The range of each number, without its lower end."""


@dataclass(frozen=True)
class Sampling:
    """The fields of the file that are used; None is the default of transformers."""

    eos_token_id: int | list[int] | None = None
    do_sample: bool | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    typical_p: float | None = None
    repetition_penalty: float | None = None

    @property
    def ends(self) -> list[int]:
        """The tokens that end a reply."""
        ends = self.eos_token_id
        return ends if isinstance(ends, list) else [] if ends is None else [ends]

    def as_options(self) -> dict[str, Any]:
        """Return what is set, as options of transformers' GenerationConfig."""
        return {key: value for key, value in asdict(self).items() if value is not None}


def read_sampling(folder: Path, vocab_size: int) -> Sampling:
    """Read the file in a model's folder; all defaults if there is none.

    Args:
        folder: A local Hugging Face folder.
        vocab_size: Number of tokens of the model.

    Raises:
        UserError: The file is damaged, or a value cannot be used.
    """
    file = folder / GENERATION_CONFIG
    if not file.is_file() and not file.is_symlink():
        return Sampling()
    try:
        content = json.loads(read_text(file))
        return check_sampling(content, vocab_size)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} cannot be used: {error}.", "Export the run again, or correct the file.") from None


def check_sampling(content: object, vocab_size: int) -> Sampling:
    """Take the content of generation_config.json.

    Raises:
        ValueError: A value cannot be used; the message names its key.
    """
    sampling = typed(Sampling, content, ignores_unknown=True)
    for token in sampling.ends:
        if not 0 <= token < vocab_size:
            raise ValueError(f"eos_token_id has {token}, and the model's tokens are 0 to {vocab_size - 1}")
    for key, (low, high) in _RANGES.items():
        value = getattr(sampling, key)
        if value is not None and not low < value <= high and (key != "temperature" or sampling.do_sample):
            raise ValueError(f"{key} is {value}, which is out of its range")
    return sampling
