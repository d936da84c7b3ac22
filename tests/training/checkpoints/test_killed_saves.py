"""A run that is killed between two writes of its first save, and of a later one, ends as one that never was."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.warm import warm_python

pytestmark = pytest.mark.megatron

SHORT = ["train.train_iters=6", "train.global_batch_size=4", "checkpoint.save_interval=2"]
KILLED = str(Path(__file__).with_name("killed_in_a_save.py"))


def call(*line: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    python = sys.executable if "torch.distributed.run" in line else warm_python()
    return subprocess.run([python, *line], cwd=cwd, capture_output=True, text=True, timeout=900, check=False)


def records(path: Path) -> list[dict]:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with prepared data, and a run of one rank that nobody killed."""
    work = tmp_path_factory.mktemp("undisturbed")
    done = call("-m", "nemotron", "super3", "pipe", "-c", "tiny", *SHORT, cwd=work)
    assert done.returncode == 0, done.stderr
    return work


@pytest.mark.parametrize(
    ("ranks", "settings"),
    [(1, []), (2, []), (1, ["checkpoint.async_save=true"])],
    ids=["one-rank", "two-ranks", "async"],
)
def test_any_kill_in_a_save_costs_no_more_than_that_save(
    undisturbed: Path, request: pytest.FixtureRequest, ranks: int, settings: list[str]
) -> None:
    output = undisturbed / f"killed-{request.node.callspec.id}"
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"] if ranks > 1 else []
    sft = ["super3", "sft", "-c", "tiny", *SHORT, *settings, f"run.output_dir={output}"]
    for write, iteration in (("config", "2"), ("tracker", "4")):
        code = call(*launcher, KILLED, write, iteration, *sft, cwd=undisturbed).returncode
        assert code == (-signal.SIGKILL if ranks == 1 else 1)  # torchrun survives its ranks
    done = call("-m", "nemotron", *sft, f"run.nproc_per_node={ranks}", cwd=undisturbed)
    assert done.returncode == 0, done.stderr
    assert "iter_0000004" in done.stderr
    assert "Continuing after iteration 2" in done.stderr
    expected = records(undisturbed / "output/tiny/sft/metrics.jsonl")
    found = records(output / "metrics.jsonl")
    if ranks == 1:
        assert found == expected
    else:  # gradients are summed in another order
        assert [row["token_loss"] for row in found] == pytest.approx([row["token_loss"] for row in expected], rel=1e-3)
    set_aside = sorted(path.name for path in (output / "checkpoints").glob("set_aside_*"))
    assert set_aside == ["set_aside_iter_0000002", "set_aside_iter_0000004"]
