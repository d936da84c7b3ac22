"""The main job from outside: the commands a user types, and the numbers they leave."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from nemotron.training import bridge

pytestmark = pytest.mark.megatron

# Two stages, two evaluations and three checkpoints in as few iterations as show them.
SHORT = ["train.train_iters=6", "train.global_batch_size=4", "validation.eval_interval=3", "checkpoint.save_interval=2"]


def nemotron(*arguments, cwd: Path, **options):
    """Run the command line as a user would, from any folder."""
    command = [sys.executable, "-m", "nemotron", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=900, check=False, **options)


def records(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def without_time(rows: list[dict]) -> list[dict]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A folder with prepared data and one finished short run."""
    folder = tmp_path_factory.mktemp("run")
    done = nemotron("super3", "pipe", "-c", "tiny", *SHORT, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_pipe_trains_both_stages_and_its_loss_falls(workdir):
    rows = records(workdir / "output/tiny/sft/metrics.jsonl")
    assert [row["iteration"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row["loss_stage"] for row in rows] == ["token"] * 3 + ["sample"] * 3
    assert [row["consumed_samples"] for row in rows] == [4, 8, 12, 16, 20, 24]
    for row in rows:
        trained = row["token_loss" if row["loss_stage"] == "token" else "sample_loss"]
        assert row["lm_loss"] == pytest.approx(trained, rel=1e-5)
        assert row["supervised_tokens"] > row["conversations"] > 4
        assert {"mtp_1_loss", "mtp_2_loss", "lr", "grad_norm", "seconds"} <= row.keys()
    # From random weights: the first loss is that of a uniform guess over the 2048 tokens.
    assert rows[0]["token_loss"] == pytest.approx(np.log(2048), rel=0.03)
    assert rows[-1]["token_loss"] < rows[0]["token_loss"] - 0.5
    assert rows[-1]["mtp_2_loss"] < rows[0]["mtp_2_loss"]
    evaluations = records(workdir / "output/tiny/sft/validation.jsonl")
    assert [row["iteration"] for row in evaluations] == [3, 6]
    assert evaluations[1]["sample_loss"] < evaluations[0]["sample_loss"]


def test_what_differs_from_the_recipe_is_the_same_in_the_log_and_in_the_dry_run(workdir):
    """Set by the YAML, by the data, by the backend: all of it is what runs."""
    done = nemotron("super3", "sft", "-c", "tiny", *SHORT, "--dry-run", "--compare", cwd=workdir)
    assert done.returncode == 0, done.stderr
    listed = done.stdout.split("Differs from Megatron-Bridge's recipe")[1].split("\n\n")[0]
    told = {line.split()[0] for line in listed.splitlines() if re.match(r"  \w+(\.\w+)* {2,}", line)} - {"key"}
    log = (workdir / "output/tiny/sft/train.log").read_text()
    logged = dict(re.findall(r"^([\w.]+): (.*) \(the recipe says .*\)$", log, re.MULTILINE))
    assert told == logged.keys()
    assert logged["optimizer.lr"] == "0.003"
    assert logged["model.seq_length"] == "1024"
    if bridge.installed().NAME != "0.4":  # whose recipe has float32 state too
        assert logged["optimizer.use_precision_aware_optimizer"] == "False"
    assert logged["mixed_precision"] == "None"


def test_a_finished_run_is_not_repeated(workdir):
    before = (workdir / "output/tiny/sft/metrics.jsonl").read_text()
    done = nemotron("super3", "sft", "-c", "tiny", *SHORT, cwd=workdir)
    assert done.returncode == 0, done.stderr
    assert "Already fine-tuned" in done.stdout
    assert (workdir / "output/tiny/sft/metrics.jsonl").read_text() == before


def test_a_killed_run_continues_from_its_checkpoint_with_the_same_numbers(workdir):
    arguments = ["super3", "sft", "-c", "tiny", *SHORT, "run.output_dir=killed"]
    killed = workdir / "killed/metrics.jsonl"
    running = subprocess.Popen(
        [sys.executable, "-m", "nemotron", *arguments],
        cwd=workdir,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    # After iteration 5, so that the checkpoint of iteration 4 is there and iteration 5 has to be repeated.
    deadline = time.monotonic() + 600
    while not killed.exists() or len(killed.read_text().splitlines()) < 5:
        assert running.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()

    done = nemotron(*arguments, cwd=workdir)
    assert done.returncode == 0, done.stderr
    assert "Continuing after iteration" in done.stderr
    uninterrupted = records(workdir / "output/tiny/sft/metrics.jsonl")
    assert without_time(records(killed)) == without_time(uninterrupted)


def test_a_shard_of_another_iteration_costs_its_checkpoint_and_no_number(workdir):
    """It has the right size and whole parts: only the fingerprints of the save tell."""
    run = workdir / "swapped"
    shutil.copytree(workdir / "output/tiny/sft", run)
    (run / "checkpoints/run.json").unlink()  # it names the other folder
    newest, older = (run / f"checkpoints/iter_000000{iteration}" for iteration in (6, 4))
    for shard in older.glob("*.distcp"):
        shutil.copy(shard, newest / shard.name)
    exported = nemotron("super3", "model", "export", str(run), cwd=workdir)
    assert exported.returncode == 1
    assert f"{newest} is not used: __0_0.distcp" in exported.stderr
    done = nemotron("super3", "sft", "-c", "tiny", *SHORT, "run.output_dir=swapped", cwd=workdir)
    assert done.returncode == 0, done.stderr
    assert "Continuing from iteration 4" in done.stderr
    uninterrupted = records(workdir / "output/tiny/sft/metrics.jsonl")
    assert without_time(records(run / "metrics.jsonl")) == without_time(uninterrupted)


def test_losses_are_those_of_the_formulas_on_the_exported_model(workdir):
    """With lr 0 the weights stay: iteration 1's losses must follow from the Parquet and the Hugging Face copy alone."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    prepared = nemotron("super3", "data", "prep", "sft", "-c", "tiny", "--sample", "4", "train_ratio=1",
                        "valid_ratio=0", "test_ratio=0", cwd=workdir)  # fmt: skip
    assert prepared.returncode == 0, prepared.stderr
    splits = workdir / "output/tiny/data/sample-4/splits"
    (shard,) = (splits / "train").glob("*.parquet")
    packs = pq.read_table(shard).to_pylist()
    done = nemotron(
        *("super3", "sft", "-c", "tiny", f"run.data={splits}", "run.output_dir=exact"),
        *(f"train.global_batch_size={len(packs)}", "train.train_iters=1", "optimizer.lr=0"),
        *("loss.stages=[{average: sample}]", "convert_to_hf.enabled=true"),
        cwd=workdir,
    )
    assert done.returncode == 0, done.stderr
    (row,) = records(workdir / "exact/metrics.jsonl")

    model = AutoModelForCausalLM.from_pretrained(workdir / "exact/hf", dtype=torch.float32).eval()
    eos = AutoTokenizer.from_pretrained(workdir / "exact/hf").eos_token_id
    sums, counts = [], []
    for pack in packs:
        for start, end in zip(pack["seq_start_id"], [*pack["seq_start_id"][1:], len(pack["input_ids"])], strict=True):
            ids = torch.tensor(pack["input_ids"][start:end])
            # The mask on disk is rolled: entry j says whether the token after position j is trained.
            mask = torch.tensor(pack["loss_mask"][start : end - 1]).bool() & (ids[:-1] != eos)
            with torch.no_grad():
                logits = model(ids[None, :-1]).logits[0].double()
            losses = torch.nn.functional.cross_entropy(logits, ids[1:], reduction="none")[mask]
            if len(losses):
                sums.append(losses.sum().item())
                counts.append(len(losses))
    assert row["supervised_tokens"] == sum(counts)
    assert row["conversations"] == len(counts)
    assert row["token_loss"] == pytest.approx(sum(sums) / sum(counts), rel=1e-4)
    assert row["sample_loss"] == pytest.approx(np.mean(np.divide(sums, counts)), rel=1e-4)
    assert row["lm_loss"] == pytest.approx(row["sample_loss"], rel=1e-5)
