"""The command of docs/howto/budget-control.md that runs the whole budget stage with the tiny model."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
COMMAND = "python examples/budget_control_tiny.py"


@pytest.mark.megatron
def test_the_documented_command_runs_the_whole_stage(tmp_path):
    assert f"\n    {COMMAND}\n" in (ROOT / "docs" / "howto" / "budget-control.md").read_text()
    line = [sys.executable, str(ROOT / COMMAND.split()[1]), str(tmp_path), "4"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=1500, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr

    rollouts = json.loads((tmp_path / "tiny/rollouts/metadata.json").read_text())
    assert rollouts["model_artifact"] == "ModelArtifact-sft:v1"
    assert rollouts["completions"]["rows"] > 0
    (dataset,) = json.loads((tmp_path / "tiny/budget_control_data/metadata.json").read_text())["datasets"]
    assert {"budget"} <= {mode["mode"] for mode in dataset["modes"]}
    metrics = (tmp_path / "tiny/budget_control/metrics.jsonl").read_text().splitlines()
    assert [json.loads(row)["iteration"] for row in metrics] == [1, 2, 3, 4]
    model = json.loads((tmp_path / "artifacts/ModelArtifact-sft/v2.json").read_text())
    assert "ModelArtifact-sft:v1" in model["inputs"]
    budgets = json.loads((tmp_path / "tiny/rollouts/budgets/budgets.json").read_text())
    assert [entry["within"] for entry in budgets] == [1.0, 1.0]  # the server closes the thought at its budget
