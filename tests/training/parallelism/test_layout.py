"""The layout in the plan."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nemotron.training.config import PeftConfig, RecipeConfig, RunConfig, SftConfig
from nemotron.training.parallelism import layout as explaining
from nemotron.training.parallelism.layout import _too_much, explain_layout
from nemotron.training.parallelism.memory import StateBytes, state_bytes
from nemotron.training.parallelism.model_shape import SUPER_120B_A12B

TINY = str(Path(__file__).parents[3] / "config/tiny_model")
SUPER = "nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-BF16"


def config(hf_model=SUPER, batch=64, peft=None, optimizer=None, run=None, **model):
    return SftConfig(
        recipe=RecipeConfig(hf_model), train={"global_batch_size": batch}, peft=peft, model=model,
        optimizer=optimizer or {}, run=run or RunConfig(),
    )  # fmt: skip


def test_the_documented_layout_is_explained_on_the_documented_ranks():
    rows = dict(explain_layout(config(expert_model_parallel_size=8), 4096, ranks=32))
    assert rows["ranks share"] == "expert parallel 8"
    assert rows["data parallel"] == "32 of 32 ranks hold different packs, 2 per iteration each"
    assert "weights 45, gradients 90, optimizer 46" in rows["memory per rank, of 32"]


def test_without_a_profile_the_fewest_ranks_are_shown_and_what_more_of_them_change():
    rows = dict(explain_layout(config(expert_model_parallel_size=8, context_parallel_size=4), 262144))
    assert {"memory per rank, of 8", "memory per rank, of 32"} <= rows.keys()
    assert rows["tokens per rank"].startswith("65,536: ")
    assert "data parallel" not in rows


def test_adapters_need_neither_gradients_nor_optimizer():
    rows = dict(explain_layout(config(peft=PeftConfig()), 4096, ranks=1))
    assert "gradients 0, optimizer 0" in rows["memory per rank, of 1"]


def test_an_unknown_model_has_a_layout_but_no_estimate():
    rows = explain_layout(config("someone/else"), 4096)
    assert [name for name, _ in rows] == ["ranks share", "tokens per rank"]


REDUCED = {
    "use_precision_aware_optimizer": True,
    "main_params_dtype": "float16",
    "exp_avg_dtype": "bfloat16",
    "exp_avg_sq_dtype": "bfloat16",
}


def test_the_optimizers_bytes_are_those_of_its_settings():
    assert state_bytes(config()) == StateBytes(gradient=4, optimizer=12)
    assert state_bytes(config(optimizer=REDUCED)).optimizer == 6
    # Types without the optimizer that honours them change nothing.
    assert state_bytes(config(optimizer={**REDUCED, "use_precision_aware_optimizer": False})).optimizer == 12
    assert state_bytes(SftConfig(mixed_precision={"grad_reduce_in_fp32": False})).gradient == 2
    assert state_bytes(SftConfig(mixed_precision=None)) == StateBytes(number=4, gradient=4, optimizer=8)
    assert state_bytes(SftConfig(ddp={"use_distributed_optimizer": False})).divided is False


def test_more_than_a_gpu_holds_is_said_with_what_would_help():
    rows = dict(explain_layout(config(expert_model_parallel_size=8), 4096, ranks=32))
    assert re.search(r"279 GB .*\b68\b", rows["does not fit"])
    assert "run.gpu_headroom_gb" in rows["does not fit"]
    assert "model.recompute_granularity=full" in rows["does not fit"]
    larger = config(expert_model_parallel_size=8, run=RunConfig(gpu_memory_gb=292))
    assert "does not fit" not in dict(explain_layout(larger, 4096, ranks=32))


def test_adapters_are_advised_where_there_are_none():
    for peft, advised in ((None, True), (PeftConfig(), False)):
        said = dict(explain_layout(config(peft=peft, recompute_granularity="full"), 4096, ranks=8))["does not fit"]
        assert "model.{tensor,pipeline,expert}_model_parallel_size" in said
        assert ("-c lora" in said) is advised


def test_a_model_that_takes_little_memory_has_no_estimate():
    rows = explain_layout(config(TINY), 4096, ranks=4)
    assert rows == [
        ("ranks share", "nothing: every rank has the whole model"),
        ("tokens per rank", "4,096: a whole pack"),
        ("data parallel", "4 of 4 ranks hold different packs, 16 per iteration each"),
    ]


def test_the_fullest_stage_is_named_and_marks_decide_which_that_is():
    """Of two equal stages the first is: it has two packs in flight."""
    layers, divided = SUPER_120B_A12B.layers, {"pipeline_model_parallel_size": 2, "expert_model_parallel_size": 8}
    for pattern, place in ((None, ""), (f"{layers[:8]}|{layers[8:]}", ", on stage 2")):
        rows = dict(explain_layout(config(hybrid_layer_pattern=pattern, **divided), 4096, ranks=16))
        assert rows["ranks share"] == "pipeline parallel 2, expert parallel 8"
        assert rows["memory per rank, of 16"].partition("mamba states ")[2].lstrip("0123456789") == f"{place})"


def test_recomputation_and_more_ranks_are_counted():
    def memory(ranks, **model):
        rows = dict(explain_layout(config(expert_model_parallel_size=8, **model), 65536, ranks))
        return [int(n) for n in re.findall(r"\w+ (\d+)[,)]", rows[f"memory per rank, of {ranks}"])]

    names = ("weights", "gradients", "optimizer", "activations", "states")
    few, many = (dict(zip(names, memory(ranks), strict=True)) for ranks in (8, 64))
    assert few["optimizer"] > 3 * many["optimizer"]
    assert {**few, "optimizer": 0} == {**many, "optimizer": 0}
    recomputed = dict(zip(names, memory(64, recompute_granularity="full"), strict=True))
    assert recomputed["activations"] < many["activations"] / 4
    assert {**many, "activations": 0, "states": 0} == {**recomputed, "activations": 0, "states": 0}


PARTS = ("weights", "gradients", "optimizer", "activations", "mamba_states")


def memory(gigabytes: int, **parts: int) -> Any:
    return SimpleNamespace(**dict.fromkeys(PARTS, 1) | parts, total=gigabytes * 10**9)


@pytest.mark.parametrize(
    ("part", "remedy"),
    [
        ("weights", "weights: divide the model: model.{tensor,pipeline,expert}_model_parallel_size, or train adapters"),
        ("gradients", "gradients: divide the model: model.{tensor,pipeline,expert}_model_parallel_size, or train"),
        ("optimizer", "optimizer: use more ranks"),
        ("activations", "activations: recompute them: model.recompute_granularity=full"),
        ("mamba_states", "mamba states: recompute them: model.recompute_granularity=full"),
    ],
)
def test_what_takes_most_of_the_memory_says_what_reduces_it(monkeypatch, part, remedy):
    fits: Any = [SimpleNamespace(command_line="a=1 b=2", describe=lambda: "about 60 GB")]
    monkeypatch.setattr(explaining, "advise", lambda *given, most: fits[:most])
    rows = dict(_too_much(config(), 8, memory(90, **{part: 2}), 4096))
    assert rows["does not fit"].startswith("on 8 ranks, 90 GB are more than the 68 GB available")
    assert f"Most of it is {remedy}" in rows["does not fit"]
    assert rows["what fits"] == "a=1 b=2 (about 60 GB)"
    fits.clear()
    assert dict(_too_much(config(), 8, memory(90), 4096))["what fits"] == "nothing on 8 ranks; use more ranks"


def test_as_much_as_a_gpu_has_fits():
    assert _too_much(config(), 8, memory(68), 4096) == []


def test_the_numbers_of_a_layout():
    rows = dict(explain_layout(config(batch=None, expert_model_parallel_size=8, context_parallel_size=4), 262144, 8))
    assert rows["tokens per rank"].startswith("65,536: two of the 8 slices")
    assert rows["data parallel"] == "2 of 8 ranks hold different packs, 0 per iteration each"
    reduced = dict(explain_layout(config(optimizer=REDUCED, expert_model_parallel_size=8), 4096, ranks=32))
    assert "weights 45, gradients 90, optimizer 23" in reduced["memory per rank, of 32"]
    parts = [int(number) for number in re.findall(r" (\d+)(?=[,)])", reduced["memory per rank, of 32"])]
    total = re.match(r"about (\d+) GB", reduced["memory per rank, of 32"])
    assert total is not None
    assert sum(parts) == pytest.approx(int(total[1]), abs=3)
