"""Throughput and MFU, with a stand-in for the GPU."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.training.reporting.report.made_up import END, START, record, write_run

from nemotron.training.reporting.report.live import describe_machine
from nemotron.training.reporting.report.run_files import RunFiles
from nemotron.training.reporting.report.speed import Speed, measure_speed, tokens_per_second
from nemotron.training.reporting.report.summary import _speeds


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> dict:
    """Two ranks on H100s."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H100 80GB HBM3")
    monkeypatch.setenv("WORLD_SIZE", "2")
    return describe_machine()


def test_mfu_is_what_a_hand_count_says(tmp_path: Path, machine: dict) -> None:
    """8 packs of 1,000 tokens in 2 s on 2 GPUs are 2,000 tokens/s each; times 8e10 FLOPs, over 989e12: 16.2 %."""
    start = {**START, "machine": machine, "flops_per_token": 8e10}
    speed = measure_speed(RunFiles(write_run(tmp_path, history=[start, END])))
    assert speed is not None
    assert (speed.tokens, speed.gpus, speed.seconds) == (4000, 2, 2)
    assert speed.mfu == pytest.approx(2000 * 8e10 / 989e12)


def test_the_page_says_how_mfu_was_counted_or_what_is_not_known() -> None:
    known = Speed(tokens=4000, seconds=2, gpus=2, device="H100", flops_per_token=8e10, peak=989, adapters_only=False)
    facts = {name: str(value) for name, value in _speeds(known)}
    assert facts["tokens/s"] == "4,000 (positions of packs)"
    assert (facts["tokens/s per GPU"], facts["GPUs"]) == ("2,000", "2 x H100")
    assert "16.2%: 8e+10 FLOPs per token; peak 989 TFLOP/s (dense BF16)" in facts["MFU"]
    for unknown, what in (({"peak": None}, "the peak of this device"), ({"flops_per_token": None}, "the shape of")):
        assert what in dict(_speeds(replace(known, **unknown)))["MFU"]
    assert [*dict(_speeds(replace(known, gpus=None)))] == ["tokens/s", "device"]
    assert [*dict(_speeds(replace(known, gpus=None, device="")))] == ["tokens/s"]


def test_mfu_is_not_known_without_a_gpu_its_peak_or_the_model(tmp_path: Path, machine: dict) -> None:
    def mfu(**facts: object) -> float | None:
        start = {**START, "machine": machine, "flops_per_token": 8e10, **facts}
        speed = measure_speed(RunFiles(write_run(tmp_path, history=[start, END])))
        assert speed is not None
        return speed.mfu

    assert mfu() is not None
    assert mfu(machine=START["machine"]) is None
    assert mfu(machine={**machine, "device": "A GPU of next year"}) is None
    assert mfu(flops_per_token=None) is None


def test_slow_iterations_do_not_move_the_median_and_a_growing_batch_counts(tmp_path: Path) -> None:
    packs = [8, 16, 24, 40, 56]  # the batch doubles after the third
    seconds = [200.0, 2.0, 2.0, 4.0, 4.0]
    records = [record(at, consumed_samples=packs[at - 1], seconds=seconds[at - 1]) for at in range(1, 6)]
    speed = measure_speed(RunFiles(write_run(tmp_path, records)))
    assert speed is not None
    assert speed.tokens == 4000


def test_iterations_between_two_records_took_as_long_as_those_recorded(tmp_path: Path) -> None:
    """With logger.log_interval=5 a record follows 40 packs, and its seconds are those of one iteration."""
    speed = measure_speed(RunFiles(write_run(tmp_path, [record(5), record(10), record(15)])))
    assert speed is not None
    assert (speed.tokens, speed.seconds) == (4000, 2)


def test_records_without_time_or_progress_have_no_speed_and_cause_no_warning(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    """x/0, 0/0, and more than a number can hold."""
    records = [record(1, seconds=0.0), record(1), record(2, consumed_samples=1e308), record(3)]
    assert not np.isfinite(tokens_per_second(RunFiles(write_run(tmp_path, records)))[:2]).any()
    assert not recwarn.list
