"""What memory is free here, and what is refused for want of it; the machine's numbers are made up."""

import json
from pathlib import Path

import pytest

from nemotron.errors import UserError
from nemotron.training.generation import memory
from nemotron.training.generation.memory import free_memory, refuse_export_beyond_memory

GIB = 2**30
TINY = Path(__file__).parents[3] / "config/tiny_model"


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Say what the files of the kernel say."""
    monkeypatch.setattr(memory, "Path", lambda path: tmp_path / str(path).strip("/"))
    for folder in ("proc", "sys/fs/cgroup"):
        (tmp_path / folder).mkdir(parents=True)

    def say(available, most=None, used=0, cached=0):
        (tmp_path / "proc/meminfo").write_text(f"MemTotal: 999 kB\nMemAvailable:   {available // 1024} kB\n")
        group = tmp_path / "sys/fs/cgroup"
        if most is not None:
            (group / "memory.max").write_text(f"{most}\n")
            (group / "memory.current").write_text(f"{used}\n")
            (group / "memory.stat").write_text(f"anon 5\ninactive_file {cached}\nactive_file 7\n")

    return say


@pytest.mark.parametrize(
    ("said", "free"),
    [
        ({"available": 8 * GIB}, 8),
        ({"available": 8 * GIB, "most": "max"}, 8),  # a control group without a limit
        ({"available": 8 * GIB, "most": 6 * GIB, "used": 4 * GIB}, 2),
        ({"available": 8 * GIB, "most": 6 * GIB, "used": 4 * GIB, "cached": 3 * GIB}, 5),
        ({"available": 8 * GIB, "most": 64 * GIB, "used": 4 * GIB}, 8),
    ],
)
def test_free_is_what_the_machine_and_its_control_group_leave(machine, said, free):
    machine(**said)
    assert free_memory() == free * GIB


def test_a_control_group_that_counts_no_cache_limits_nothing(machine, tmp_path):
    """As that of another version of Linux."""
    machine(available=8 * GIB, most=6 * GIB)
    (tmp_path / "sys/fs/cgroup/memory.stat").write_text("anon 5\n")
    assert free_memory() == 8 * GIB


def test_an_export_that_does_not_fit_is_refused_with_both_numbers(machine):
    super3 = "nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-BF16"
    machine(available=400 * GIB)
    refuse_export_beyond_memory(Path("/run"), super3)
    machine(available=16 * GIB)
    with pytest.raises(UserError, match=r"\(2\d\d\.\d GiB\).* 16\.0 GiB") as error:
        refuse_export_beyond_memory(Path("/run"), super3)
    assert "model export /run" in error.value.hint


def test_an_export_that_takes_all_that_is_free_is_made(monkeypatch):
    super3 = "nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-BF16"
    shape = memory.KNOWN_SHAPES[super3]
    needed = memory._BYTES * (shape.dense_parameters + shape.expert_parameters)
    monkeypatch.setattr(memory, "free_memory", lambda: needed)
    refuse_export_beyond_memory(Path("iter_1"), super3)
    monkeypatch.setattr(memory, "free_memory", lambda: needed - 1)
    with pytest.raises(UserError, match=f"{needed:,} bytes"):
        refuse_export_beyond_memory(Path("iter_1"), super3)


def test_what_nobody_knows_is_let_through(machine, monkeypatch, tmp_path):
    machine(available=0)
    refuse_export_beyond_memory(Path("/run"), "someone/model")
    configs = {"tiny": json.loads((TINY / "config.json").read_text()), "other": {"hidden_size": 8}}
    monkeypatch.setattr(memory, "read_model_config", lambda model: (configs.get(model), None))
    refuse_export_beyond_memory(Path("/run"), "other")
    with pytest.raises(UserError):
        refuse_export_beyond_memory(Path("/run"), "tiny")
