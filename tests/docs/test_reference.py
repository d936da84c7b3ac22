"""The reference pages are what the code says, and the code describes everything that they list."""

import dataclasses

import pytest
from tools.reference import FOLDER, PAGES, make_page

from nemotron.data_prep.config import DataPrepConfig
from nemotron.data_prep.output.metadata import DatasetStats, Metadata, SplitStats
from nemotron.json_schema import field_docstrings
from nemotron.launch.profiles.profile import Profile
from nemotron.rollouts.config import RolloutsConfig
from nemotron.training.config import MEGATRON_SECTIONS, SftConfig


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_the_code_says(name: str) -> None:
    page = FOLDER / name
    is_current = page.is_file() and page.read_text(encoding="utf-8") == make_page(name)
    assert is_current, f"docs/reference/{name} is out of date. Run: python -m tools.reference"


def undescribed(schema: type) -> list[str]:
    """Fields of a dataclass, and of those that it holds, without a docstring; a section needs none."""
    described = field_docstrings(schema)
    missing = []
    for field in dataclasses.fields(schema):
        inner = next(
            (one for one in (field.type, *getattr(field.type, "__args__", ())) if dataclasses.is_dataclass(one)), None
        )
        if isinstance(inner, type) and field.name not in described:
            missing += undescribed(inner)
        elif field.name not in described and field.name not in MEGATRON_SECTIONS:
            missing.append(f"{schema.__name__}.{field.name}")
    return missing


@pytest.mark.parametrize(
    "schema", [DataPrepConfig, SftConfig, RolloutsConfig, Profile, Metadata, DatasetStats, SplitStats]
)
def test_every_key_says_what_it_means(schema: type) -> None:
    assert undescribed(schema) == []
