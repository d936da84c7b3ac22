"""Rows and configs of a small run in a folder: what the fixtures of conftest.py make in the folder of a test."""

import json
from pathlib import Path
from typing import Any

from nemotron.data_prep.config import BlendConfig, DataPrepConfig, PrepRunConfig, TokenizerConfig

Row = dict[str, Any]


def write_rows_in(folder: Path, name: str, rows: list[Row]) -> Path:
    """Write rows as JSONL into a folder."""
    path = folder / name
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def make_config_in(
    folder: Path, tokenizer: Path, *files: str, blend: dict[str, Any] | None = None, **settings: Any
) -> DataPrepConfig:
    """Make a config for the named files of a folder as one blend, in this process, everything into train."""
    blend_path = folder / "blend.json"
    blend_path.write_text(json.dumps(blend or {"datasets": [{"path": file} for file in files]}))
    defaults = {"train_ratio": 1.0, "valid_ratio": 0.0, "test_ratio": 0.0, "workers": 1, "pack_size": 256}
    samples = settings.pop("blend.samples", None)
    return DataPrepConfig(
        blend_path=str(blend_path),
        blend=BlendConfig(samples=samples),
        output_dir=str(folder / "out"),
        tokenizer=TokenizerConfig(model=str(tokenizer)),
        run=PrepRunConfig(artifacts=str(folder / "artifacts")),
        **{**defaults, **settings},
    )
