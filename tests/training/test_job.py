"""The job around the training step, from outside: stopped, diverged, evaluated, and with adapters only."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from tests.warm import nemotron, warm_python

from nemotron.exit_codes import STOPPED
from nemotron.training import bridge

pytestmark = pytest.mark.megatron


def records(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A folder with a few packs of prepared data, the same ones in every split."""
    folder = tmp_path_factory.mktemp("job")
    ratios = ("train_ratio=1", "valid_ratio=0", "test_ratio=0")
    done = nemotron("super3", "data", "prep", "sft", "-c", "tiny", "--sample", "8", *ratios, cwd=folder)
    assert done.returncode == 0, done.stderr
    prepared = folder / "output/tiny/data/sample-8/splits"
    for split in ("train", "valid", "test"):
        shutil.copytree(prepared.resolve() / "train", folder / "splits" / split)
    shutil.copyfile(prepared / "artifact.json", folder / "splits/artifact.json")
    return folder


@pytest.fixture(scope="module")
def evaluated(workdir):
    """One iteration over all packs that changes nothing, then an evaluation of each split."""
    packs = sum(pq.read_metadata(shard).num_rows for shard in (workdir / "splits/train").glob("*.parquet"))
    done = nemotron("super3", "sft", "-c", "tiny", "run.data=splits", "run.output_dir=evaluated", "optimizer.lr=0",
                    "train.train_iters=1", f"train.global_batch_size={packs}", "test.enabled=true",
                    "loss.stages=[{average: sample}]", "logger.wandb_project=trials",
                    cwd=workdir, WANDB_MODE="offline")  # fmt: skip
    assert done.returncode == 0, done.stderr
    return workdir / "evaluated", done.stdout, packs


def test_evaluations_measure_what_training_measures(evaluated):
    """The same packs and the same weights: losses and acceptance of every depth must be the same numbers."""
    folder, _, packs = evaluated
    [trained] = records(folder / "metrics.jsonl")
    names = ["token_loss", "sample_loss", "mtp_1_loss", "mtp_2_loss"]
    if bridge.installed().NAME != "0.4":  # whose Megatron-Core does not measure it
        names += ["mtp_1_acceptance", "mtp_2_acceptance"]
        assert trained["mtp_2_acceptance"] > 0
    expected = {"iteration": 1, "packs": packs, **{name: trained[name] for name in names}}
    for split in ("validation", "test"):
        [measured] = records(folder / f"{split}.jsonl")
        assert measured == pytest.approx(expected, rel=1e-5)


def test_ranks_that_cannot_share_a_split_evenly_evaluate_all_of_it(evaluated, workdir):
    folder, _, packs = evaluated
    ranks = next(ranks for ranks in (2, 3) if packs % ranks)
    done = nemotron("super3", "sft", "-c", "tiny", "run.data=splits", "run.output_dir=shared", "optimizer.lr=0",
                    "train.train_iters=1", f"train.global_batch_size={ranks}", "test.enabled=true",
                    "loss.stages=[{average: token}]", f"run.nproc_per_node={ranks}", cwd=workdir)  # fmt: skip
    assert done.returncode == 0, done.stderr
    for split in ("validation", "test"):
        [alone], [shared] = records(folder / f"{split}.jsonl"), records(workdir / "shared" / f"{split}.jsonl")
        assert shared["packs"] == packs
        assert shared == pytest.approx(alone, rel=1e-5)


def test_a_run_that_died_in_its_last_evaluation_is_finished_by_the_same_command(evaluated, workdir):
    """Nothing is trained, nothing saved again; what was measured is not measured twice."""
    folder, _, packs = evaluated
    left = shutil.copytree(folder, workdir / "unfinished")
    (left / "test.jsonl").unlink()
    saved = {path: path.stat().st_mtime_ns for path in left.rglob("checkpoints/iter_*/*")}
    done = nemotron("super3", "sft", "-c", "tiny", "run.data=splits", "run.output_dir=unfinished", "optimizer.lr=0",
                    "train.train_iters=1", f"train.global_batch_size={packs}", "test.enabled=true",
                    "loss.stages=[{average: sample}]", cwd=workdir)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Already fine-tuned" in done.stdout
    for name in ("metrics", "validation"):
        assert (left / f"{name}.jsonl").read_text() == (folder / f"{name}.jsonl").read_text()
    assert records(left / "test.jsonl") == records(folder / "test.jsonl")
    assert {path: path.stat().st_mtime_ns for path in left.rglob("checkpoints/iter_*/*")} == saved


def test_the_end_of_a_run_says_where_the_curves_are(evaluated):
    folder, said, _ = evaluated
    assert str(folder / "report.html") in said
    assert f"nemotron super3 model export {folder}" in said
    assert "<th>test</th>" in (folder / "report.html").read_text()


def test_tensorboard_and_wandb_have_every_loss(evaluated):
    folder, *_ = evaluated
    [events] = folder.glob("tb_logs/events.*")
    [offline] = folder.glob("wandb/offline-run-*/run-*.wandb")
    for log in (events.read_bytes(), offline.read_bytes()):
        for name in (b"lm loss", b"token loss", b"sample loss", b"mtp depth 2 loss"):
            assert name in log


def test_megatrons_sums_are_not_added_to_ours(evaluated):
    """Megatron-Core reports its own average over micro-batches as `mtp_1 loss`, in the same line of the log."""
    folder, *_ = evaluated
    [line] = re.findall(r"iteration +1/.*mtp.*", (folder / "train.log").read_text())
    logged = dict(re.findall(r"(mtp[^|]*?): ([\d.E+-]+) \|", line))
    [trained] = records(folder / "metrics.jsonl")
    for depth in (1, 2):
        assert float(logged[f"mtp depth {depth} loss"]) == pytest.approx(trained[f"mtp_{depth}_loss"], rel=1e-5)
        assert float(logged[f"mtp_{depth} loss"]) == pytest.approx(trained[f"mtp_{depth}_loss"], rel=0.1)


def test_numbers_that_are_not_finite_stop_the_run_with_step_and_rank(workdir):
    # From nothing: where what Megatron logs goes is settled when it is imported.
    command = [sys.executable, "-m", "nemotron", "super3", "sft", "-c", "tiny", "run.data=splits",
               "run.output_dir=diverged", "optimizer.lr=1e30", "train.global_batch_size=1",
               "train.train_iters=5"]  # fmt: skip
    done = subprocess.run(command, cwd=workdir, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 1
    assert re.search(r"error: Training diverged: \w+ in .* on rank 0 at iteration \d", done.stderr)
    assert "Traceback" not in done.stderr
    log = (workdir / "diverged/train.log").read_text()
    # One sentence first, the traceback after it.
    assert re.search(r"Rank 0 \w+ at iteration \d.*Traceback \(most recent call last\)", log, re.DOTALL)


@pytest.fixture(scope="module")
def adapters(workdir):
    """A LoRA run that was stopped by SIGTERM, continued by the same command, and exported."""
    arguments = ["super3", "sft", "-c", "tiny_lora", "run.data=splits", "run.output_dir=lora", "train.train_iters=6",
                 "train.global_batch_size=1", "checkpoint.save_interval=100", "convert_to_hf.enabled=true"]  # fmt: skip
    metrics = workdir / "lora/metrics.jsonl"
    running = subprocess.Popen(
        [warm_python(), "-m", "nemotron", *arguments],
        cwd=workdir,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 600
    while not metrics.exists() or len(metrics.read_text().splitlines()) < 2:
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(running.pid, signal.SIGTERM)
    said, errors = running.communicate(timeout=900)
    finished = int((workdir / "lora/checkpoints/latest_checkpointed_iteration.txt").read_text())
    continued = nemotron(*arguments, cwd=workdir)
    assert continued.returncode == 0, continued.stderr
    return {"code": running.returncode, "said": said, "errors": errors, "finished": finished, "then": continued}


def test_sigterm_saves_says_so_and_has_an_exit_code_of_its_own(adapters):
    assert adapters["code"] == STOPPED, adapters["errors"]
    assert "SIGTERM: " in adapters["errors"]
    assert 2 <= adapters["finished"] < 6
    assert f" {adapters['finished']} of 6" in adapters["said"]
    assert "Fine-tuned" not in adapters["said"]
    assert "Traceback" not in adapters["errors"]


def test_the_next_run_continues_behind_the_last_finished_iteration(adapters, workdir):
    assert f" after iteration {adapters['finished']}." in adapters["then"].stderr
    assert [row["iteration"] for row in records(workdir / "lora/metrics.jsonl")] == [1, 2, 3, 4, 5, 6]


def test_adapters_that_were_interrupted_are_those_of_an_uninterrupted_run(adapters, workdir):
    """To the last bit: also the router's biases, which are not saved with adapters, have stayed as they were."""
    whole = ["super3", "sft", "-c", "tiny_lora", "run.data=splits", "run.output_dir=whole", "train.train_iters=6",
             "train.global_batch_size=1", "checkpoint.save_interval=100"]  # fmt: skip
    done = nemotron(*whole, cwd=workdir)
    assert done.returncode == 0, done.stderr
    once, twice = (
        [{**row, "seconds": None} for row in records(workdir / name / "metrics.jsonl")] for name in ("whole", "lora")
    )
    assert once == twice
    once, twice = (tensors(workdir / name / "checkpoints/iter_0000006") for name in ("whole", "lora"))
    assert once.keys() == twice.keys()
    assert all(torch.equal(once[name], twice[name]) for name in once)


def tensors(iteration_dir: Path) -> dict[str, torch.Tensor]:
    """Every tensor of a checkpoint, read with torch alone."""
    from torch.distributed.checkpoint import FileSystemReader, load

    reader = FileSystemReader(iteration_dir)
    entries = reader.read_metadata().state_dict_metadata
    found = {
        name: torch.empty(entry.size, dtype=entry.properties.dtype)
        for name, entry in entries.items()
        if hasattr(entry, "size")
    }
    load(found, storage_reader=reader, no_dist=True)
    return found


def test_only_adapters_are_saved_and_the_export_is_base_plus_update(adapters, workdir):
    """W + alpha/dim B A (Hu et al. 2021, section 4.1), module by module, from the tensors on disk."""
    saved = tensors(workdir / "lora/checkpoints/iter_0000006")
    model_weights = [name for name in saved if not name.startswith("optimizer")]
    assert model_weights
    assert all(".adapter." in name for name in model_weights)
    [start] = workdir.glob("start/start-*/iter_0000000")
    base = tensors(start)
    exported = load_file(workdir / "lora/hf/model.safetensors")
    scale = 16 / 8

    def merged(module, parts=("",), expert=None):
        weight = torch.cat([base[f"{module}.weight{part}"] for part in parts], dim=-2)
        after = torch.cat([saved[f"{module}.adapter.linear_out.weight{part}"] for part in parts], dim=-2)
        before = saved[f"{module}.adapter.linear_in.weight"]
        if expert is not None:
            weight, after, before = weight[expert], after[expert], before[expert]
        assert after.abs().max() > 0, f"{module} was not trained"
        return weight + scale * after @ before

    expected = {
        "backbone.layers.0.mixer.in_proj": merged("decoder.layers.0.mixer.in_proj", (".z", ".x", ".B", ".C", ".dt")),
        "backbone.layers.0.mixer.out_proj": merged("decoder.layers.0.mixer.out_proj"),
        "backbone.layers.3.mixer.o_proj": merged("decoder.layers.3.self_attention.linear_proj"),
        "backbone.layers.1.mixer.experts.5.up_proj": merged(
            "decoder.layers.1.mlp.experts.experts.linear_fc1", expert=5
        ),
        "backbone.layers.1.mixer.experts.5.down_proj": merged(
            "decoder.layers.1.mlp.experts.experts.linear_fc2", expert=5
        ),
        "backbone.layers.1.mixer.shared_experts.up_proj": merged("decoder.layers.1.mlp.shared_experts.linear_fc1"),
    }
    for name, weight in expected.items():
        torch.testing.assert_close(exported[f"{name}.weight"], weight, rtol=1e-5, atol=1e-6)
    embedding = base["embedding.word_embeddings.weight"]
    assert torch.equal(exported["backbone.embeddings.weight"], embedding)


def prepare_turns(folder: Path) -> Path:
    """Prepare conversations of one to four turns with reasoning, the same ones in train and valid.

    Each turn is a sequence of its own.
    """
    rows = []
    for number in range(12):
        messages = []
        for turn in range(number % 4 + 1):
            thought = "Let me think. " * (number % 3 + turn)
            messages.append({"role": "user", "content": f"Question {turn} of conversation {number}?"})
            messages.append({"role": "assistant", "content": f"Answer {turn}.", "reasoning_content": thought})
        rows.append(json.dumps({"messages": messages}))
    (folder / "turns.jsonl").write_text("\n".join(rows) + "\n")
    (folder / "turns.json").write_text(json.dumps({"datasets": [{"path": "turns.jsonl"}]}))
    ratios = ("train_ratio=1", "valid_ratio=0", "test_ratio=0")
    done = nemotron("super3", "data", "prep", "sft", "-c", "tiny", "blend_path=turns.json", "output_dir=prepared",
                    "pack_size=512", *ratios, cwd=folder)  # fmt: skip
    assert done.returncode == 0, done.stderr
    prepared = (folder / "prepared/splits").resolve()
    for split in ("train", "valid"):
        shutil.copytree(prepared / "train", folder / "turns" / split)
    shutil.copyfile(prepared / "artifact.json", folder / "turns/artifact.json")
    return folder / "turns"


def test_by_conversation_an_epoch_counts_each_once_and_evaluations_follow(tmp_path):
    packs = sum(pq.read_metadata(shard).num_rows for shard in (prepare_turns(tmp_path) / "train").glob("*.parquet"))
    assert packs > 2
    done = nemotron("super3", "sft", "-c", "tiny", "run.data=turns", "run.output_dir=run", "optimizer.lr=0",
                    "loss.stages=[{average: sample}]", "loss.sample_unit=conversation", f"train.train_iters={packs}",
                    "train.global_batch_size=1", "model.moe_router_bias_update_rate=0", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    trained, [measured] = records(tmp_path / "run/metrics.jsonl"), records(tmp_path / "run/validation.jsonl")[-1:]
    assert {record["sample_unit"] for record in trained} == {"conversation"}
    assert any(record["conversations"] % 1 for record in trained)  # parts of conversations
    assert sum(record["conversations"] for record in trained) == pytest.approx(12, abs=1e-4)
    whole = sum(record["sample_loss"] * record["conversations"] for record in trained) / 12
    assert measured["sample_loss"] == pytest.approx(whole, rel=1e-5)
    assert measured["sample_loss"] != pytest.approx(measured["token_loss"], rel=1e-5)
    again = nemotron("super3", "sft", "-c", "tiny", "run.data=turns", "run.output_dir=run", "optimizer.lr=0",
                     "loss.stages=[{average: sample}]", f"train.train_iters={packs + 1}",
                     "train.global_batch_size=1", cwd=tmp_path)  # fmt: skip
    assert again.returncode == 1
    assert "loss.sample_unit is sequence" in again.stderr


def test_a_batch_without_targets_changes_nothing_that_is_saved(workdir, tmp_path):
    [shard] = (workdir / "splits/train").glob("*.parquet")
    table = pq.read_table(shard)
    rows = table.slice(0, 3).to_pylist()
    rows[1]["loss_mask"] = [0] * len(rows[1]["loss_mask"])
    (tmp_path / "splits/train").mkdir(parents=True)
    shutil.copyfile(workdir / "splits/artifact.json", tmp_path / "splits/artifact.json")
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), tmp_path / "splits/train/shard.parquet")
    done = nemotron("super3", "sft", "-c", "tiny", "run.data=splits", "run.output_dir=run", "train.train_iters=3",
                    "train.global_batch_size=1", "checkpoint.save_interval=1", "scheduler.lr_warmup_iters=0",
                    "run.verify_data=false", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    trained = records(tmp_path / "run/metrics.jsonl")
    [skipped] = [record["iteration"] for record in trained if record["supervised_tokens"] == 0]
    assert trained[-1]["skipped_batches"] == 1
    assert f"Iteration {skipped}: no token" in (tmp_path / "run/train.log").read_text()
    for iteration in range(2, 4):
        before, after = (tensors(tmp_path / f"run/checkpoints/iter_{n:07}") for n in (iteration - 1, iteration))
        changed = [name for name in before if not torch.equal(before[name], after[name])]
        assert bool(changed) is (iteration != skipped), changed
