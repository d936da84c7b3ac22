"""The example scripts run as they stand."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


@pytest.mark.megatron
def test_finetune_tiny(tmp_path: Path) -> None:
    script = [sys.executable, str(EXAMPLES / "finetune_tiny.py"), str(tmp_path)]
    done = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr
    assert [line.split(":")[0] for line in done.stdout.splitlines() if line.startswith("iteration")] == [
        f"iteration {n}" for n in range(1, 5)
    ]
    assert "sample loss" in done.stdout
    assert (tmp_path / "sft" / "checkpoints" / "iter_0000004").is_dir()
