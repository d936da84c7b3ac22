"""What the process that workers are forked from has loaded, and that loading it left no thread behind."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nemotron.data_prep import preload
from nemotron.data_prep.config import DataPrepConfig, TokenizerConfig

TINY = Path(__file__).parents[2] / "config/data_prep/tiny/tokenizer"
ASKED = """
import json, os, sys
from nemotron.data_prep.packing import shards
from nemotron.data_prep.tokenization import part
import awkward
before = len(os.listdir("/proc/self/task"))
from nemotron.data_prep import preload
from nemotron.data_prep.tokenization import encoders
print(json.dumps({
    "threads": len(os.listdir("/proc/self/task")) - before,
    "tokenizers": encoders._gigatoken.cache_info().currsize,
    "left in the environment": [name for name in os.environ if name.startswith("NEMOTRON_PRELOAD")],
}))
"""


@pytest.mark.parametrize(
    ("model", "encoder", "tokenizers"), [(str(TINY), "auto", 1), (str(TINY), "tokenizers", 0), ("no/folder", "auto", 0)]
)
def test_the_fast_encoder_is_loaded_where_it_may_be_used_and_starts_no_thread(
    model: str, encoder: str, tokenizers: int
) -> None:
    config = DataPrepConfig(tokenizer=TokenizerConfig(model=model), encoder=encoder)  # pyright: ignore[reportArgumentType]
    environment = {**os.environ, **preload.environment(config)}
    printed = subprocess.run([sys.executable, "-c", ASKED], env=environment, capture_output=True, text=True, check=True)
    assert json.loads(printed.stdout) == {
        "threads": 0, "tokenizers": tokenizers, "left in the environment": [],
    }  # fmt: skip


def test_importing_it_elsewhere_loads_nothing() -> None:
    code = "import sys, nemotron.data_prep.preload; print('awkward' in sys.modules, 'gigatoken' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert printed.stdout.split() == ["False", "False"]
