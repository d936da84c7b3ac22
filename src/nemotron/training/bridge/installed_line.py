"""Find the module for the installed release line of Megatron-Bridge."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import cast

from nemotron.training.bridge.interface import Line


@cache
def installed() -> Line:
    """Return the line whose API the installed release has, without importing it.

    Releases with `GPTSFTDatasetConfig` count as 0.6, older ones as 0.4. If a release between or after the tested ones
    lacks something, the error names it when it is needed.
    """
    from nemotron.training.bridge import v04, v06

    module = v06 if _has("bridge/data/builders/gpt_sft.py") or not _has("bridge") else v04
    return cast(Line, module)


def _has(path: str) -> bool:
    """Tell whether Megatron, a namespace package, holds this file or folder."""
    megatron = find_spec("megatron")
    places = () if megatron is None else megatron.submodule_search_locations or ()
    return any((Path(place) / path).exists() for place in places)
