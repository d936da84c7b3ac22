"""The counts of a small run, made by hand, and its tables as lists of cells."""

import re
from html import unescape
from typing import Any

from nemotron.data_prep.output.counting_roles import RoleStats
from nemotron.data_prep.output.distributions import Distribution
from nemotron.data_prep.output.metadata import DatasetStats, Metadata, OverlongStats, SplitStats

LENGTHS = Distribution([0.0, 10.0, 20.0], [3, 1], {"min": 2, "max": 19}, 8.5)


def dataset(name: str = "chat", **changed: Any) -> DatasetStats:
    """Return the counts of 100 rows, of which 90 are kept."""
    roles = {"user": RoleStats(600, 0), "answer": RoleStats(400, 300)}
    counts = {
        "goes_to": None, "weight": None, "files": 1, "bytes": 5000, "rows": 100, "kept": 90, "repeated": 5,
        "dropped": {"bad_role": 10}, "duplicates": 0, "notes": [], "truncated": 2, "masked_sequences": 0,
        "sequences": 97, "tokens": 1000, "supervised_tokens": 300, "roles": roles, "asked": None, "got": None,
        "conversation_share": 1.0, "share_of_supervised": 1.0, "fill": 0.875, "modes": [], "checks": [],
    }  # fmt: skip
    return DatasetStats(name, **counts | changed)


def split(name: str = "train", **changed: Any) -> SplitStats:
    """Return the counts of 11 packs of 100 tokens."""
    counts = {
        "path": name, "conversations": 95, "sequences": 97, "packs": 11, "tokens": 1000, "padding": 45,
        "supervised_tokens": 300, "fill": 0.95, "shards": [],
    }  # fmt: skip
    return SplitStats(name, **counts | changed)


def metadata(*datasets: DatasetStats, **changed: Any) -> Metadata:
    """Return the counts of a run with these datasets."""
    names = ("conversation_tokens", "conversation_supervised", "sequence_tokens", "pack_fill", "pack_conversations")
    counts = {
        "run_hash": "0123abcd", "config_name": "sft", "pack_size": 100, "pad_to_multiple": 1, "algorithm": "first_fit",
        "seed": 1, "special_tokens_in_content": "keep", "tokenizer": {"model": "letters"},
        "chat_template": {"name": "nemotron3"}, "blend": "blend.yaml", "datasets": list(datasets or [dataset()]),
        "splits": [split()], "overlong": OverlongStats("drop", 100, 0, 0, 0.0, 80),
        "distributions": dict.fromkeys(names, LENGTHS), "low_effort": {},
    }  # fmt: skip
    return Metadata(**counts | changed)


def cells(html: str) -> list[list[str]]:
    """Return the text of each cell of each row, the titles first."""
    rows = re.findall("<tr>(.*?)</tr>", html, re.DOTALL)
    return [[words(cell) for cell in re.findall("<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)] for row in rows]


def words(html: str) -> str:
    """Return what a reader sees."""
    return unescape(re.sub("<[^>]+>", "", html))
