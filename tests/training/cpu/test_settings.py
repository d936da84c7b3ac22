"""What torch layers and a CPU change in Megatron-Bridge's config, on a stand-in for it."""

import contextlib
import sys
from types import SimpleNamespace

import pytest

from nemotron.training import bridge, cpu, torch_layers
from nemotron.training.cpu import settings as cpu_settings
from nemotron.training.torch_layers import settings as torch_settings


def every_field(names, value="recipe"):
    return SimpleNamespace(**dict.fromkeys(names, value))


OFF = (
    *("moe_grouped_gemm", "moe_permute_fusion", "moe_router_fusion", "moe_shared_expert_overlap"),
    *("gradient_accumulation_fusion", "cross_entropy_loss_fusion", "bias_dropout_fusion", "apply_rope_fusion"),
    *("masked_softmax_fusion", "persist_layer_norm", "tp_comm_overlap", "use_te_rng_tracker"),
)
"""What needs Transformer Engine or fused kernels."""


@pytest.fixture
def config(monkeypatch):
    """A recipe with whatever a backend changes, at "recipe"."""
    monkeypatch.setattr(bridge, "installed", lambda: SimpleNamespace(hybrid_stack=lambda: stack))
    stack = SimpleNamespace(spec_field="hybrid_stack_spec")
    monkeypatch.setitem(sys.modules, "nemotron.training.torch_layers.spec", Spec)
    formats = ("bf16", "fp16", "params_dtype")
    others = ("hybrid_stack_spec", "cuda_graph_impl", "mamba_chunk_size", "use_cpu_initialization")
    model = every_field((*OFF, *others, *formats))
    model.num_moe_experts, model.moe_token_dispatcher_type = 8, "flex"
    optimizer = ("use_precision_aware_optimizer", "exp_avg_dtype", "use_distributed_optimizer", "overlap_param_gather")
    ddp = ("use_distributed_optimizer", "overlap_grad_reduce", "overlap_param_gather", "average_in_collective")
    return SimpleNamespace(
        model=model,
        mixed_precision="bf16_mixed",
        comm_overlap="recipe",
        optimizer=every_field((*optimizer, *formats)),
        ddp=every_field(ddp),
        dist=every_field(["distributed_backend"]),
        rng=every_field(["te_rng_tracker"]),
        checkpoint=every_field(["async_save"]),
        dataset=every_field(["num_workers", "pin_memory", "persistent_workers"]),
    )


class Spec:
    """The module of the layer spec, which imports Megatron."""

    @staticmethod
    def torch_hybrid_stack_spec():
        """Make a spec."""


def test_torch_layers_need_no_kernels_and_keep_number_formats(config):
    torch_settings.apply(config)
    model = vars(config.model)
    assert {name: model[name] for name in OFF} == dict.fromkeys(OFF, False)
    assert (model["hybrid_stack_spec"], model["cuda_graph_impl"]) == (Spec.torch_hybrid_stack_spec, "none")
    assert (model["mamba_chunk_size"], model["moe_token_dispatcher_type"]) == (128, "alltoall")
    assert (model["bf16"], config.mixed_precision) == ("recipe", "bf16_mixed")
    assert (config.optimizer.bf16, config.optimizer.use_distributed_optimizer) == ("recipe", "recipe")
    assert (config.optimizer.use_precision_aware_optimizer, str(config.optimizer.exp_avg_dtype)) == (
        *(False, "torch.float32"),
    )
    assert (config.comm_overlap, config.rng.te_rng_tracker, config.checkpoint.async_save) == (None, False, False)


@pytest.mark.parametrize(("experts", "kind"), [(8, "allgather"), (None, "flex")])
def test_only_experts_are_sent_between_ranks_in_another_way(config, experts, kind):
    config.model.num_moe_experts = experts
    torch_settings.apply(config)
    assert config.model.moe_token_dispatcher_type == ("alltoall" if experts else "flex")
    config.model.moe_token_dispatcher_type = kind
    torch_settings.apply(config)
    assert config.model.moe_token_dispatcher_type == kind


def test_a_cpu_computes_in_float32_with_gloo_and_without_loader_processes(config, monkeypatch):
    monkeypatch.setattr(torch_layers, "apply", torch_settings.apply)
    cpu_settings.apply(config)
    model = config.model
    assert (config.mixed_precision, model.bf16, str(model.params_dtype)) == (None, False, "torch.float32")
    assert (model.use_cpu_initialization, model.mamba_chunk_size) == (True, 64)
    assert model.moe_token_dispatcher_type == "allgather"
    assert model.moe_grouped_gemm is False
    assert {name: vars(config.ddp)[name] for name in vars(config.ddp)} == dict.fromkeys(vars(config.ddp), False)
    assert (config.optimizer.use_distributed_optimizer, config.optimizer.overlap_param_gather) == (False, False)
    assert config.dist.distributed_backend == "gloo"
    assert vars(config.dataset) == {"num_workers": 0, "pin_memory": False, "persistent_workers": False}


def test_a_model_on_a_cpu_is_float32_of_torch_layers(config):
    cpu_settings.use_cpu(config.model)
    assert (config.model.bf16, config.model.moe_grouped_gemm, config.model.use_cpu_initialization) == (
        False,
        False,
        True,
    )
    config.model.num_moe_experts, config.model.moe_token_dispatcher_type = None, "alltoall"
    cpu_settings.use_cpu(config.model)
    assert config.model.moe_token_dispatcher_type == "alltoall"


@pytest.mark.parametrize("chosen", [None, "2"])
def test_a_cpu_has_one_thread_a_process_unless_somebody_says_otherwise(monkeypatch, chosen):
    import torch

    threads, active = [3], []
    monkeypatch.setattr(torch_layers, "activate", lambda: active.append("layers"))
    monkeypatch.setattr(cpu, "device_mode", lambda: contextlib.nullcontext())
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads[-1])
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if chosen:
        monkeypatch.setenv("OMP_NUM_THREADS", chosen)
    with cpu.backend():
        assert active == ["layers"]
        assert threads[-1] == (3 if chosen else 1)
    assert threads[-1] == 3


@pytest.mark.parametrize("there", [True, False])
def test_a_cpu_is_needed_where_there_is_no_gpu(machine, there):
    machine(gpu=there)
    assert cpu.is_needed() is not there
