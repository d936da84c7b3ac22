"""What the torch layers replace in Megatron, and how their stack is built, on stand-ins for it."""

import queue
import sys
from functools import cache, partial
from types import ModuleType, SimpleNamespace

import pytest
import torch
from tests.stand_ins import import_again, put_modules

from nemotron.training import bridge, torch_layers
from nemotron.training.torch_layers import imports, mamba, patches


def test_layers_of_transformer_engine_are_replaced(monkeypatch):
    block = SimpleNamespace(TENorm=None)
    monkeypatch.setattr(bridge, "installed", lambda: SimpleNamespace(hybrid_stack=lambda: SimpleNamespace(block=block)))
    ours = "nemotron.training.torch_layers"
    modules = put_modules(
        monkeypatch,
        {
            "megatron.core.transformer.moe.experts": {
                "SequentialMLP": type("SequentialMLP", (), {"forward": "one by one"})
            },
            "megatron.core.transformer.moe.moe_layer": {"HAVE_TE": False, "TELinear": None},
            f"{ours}.experts": {"group_where_possible": lambda forward: f"grouped, else {forward}"},
            f"{ours}.layers": {"ReplicatedLinear": "our linear", "RMSNorm": "our norm"},
        },
    )
    patches.patch_torch_layers()
    moe = vars(modules["megatron.core.transformer.moe.moe_layer"])
    assert (block.TENorm, moe["TELinear"], moe["HAVE_TE"]) == ("our norm", "our linear", True)
    experts = vars(modules["megatron.core.transformer.moe.experts"])
    assert experts["SequentialMLP"].forward == "grouped, else one by one"


def test_names_of_our_layers_are_added_to_the_conversion(monkeypatch):
    class Converter:
        def mapping_registry(self):
            return SimpleNamespace(mappings=["a", "b"])

    registry = {"MegatronMappingRegistry": lambda *mappings: list(mappings)}
    put_modules(
        monkeypatch,
        {
            "megatron.bridge.models.conversion.mapping_registry": registry,
            "megatron.bridge.models.nemotronh.nemotron_h_bridge": {"NemotronHBridge": Converter},
        },
    )
    line = SimpleNamespace(conversion_mappings=lambda converter: [type(converter).__name__])
    monkeypatch.setattr(bridge, "installed", lambda: line)
    patches.patch_conversion()
    assert Converter().mapping_registry() == ["a", "b", "Converter"]


def test_adapters_find_the_sizes_of_our_layers(monkeypatch):
    class Linear:
        tp_group = SimpleNamespace(size=lambda: 4)

    parts = {
        "megatron.bridge.peft.utils": {"HAVE_TE": True},
        "megatron.core.tensor_parallel": {"ColumnParallelLinear": Linear},
    }
    modules = put_modules(monkeypatch, parts)
    patches.patch_adapters()
    assert vars(modules["megatron.bridge.peft.utils"])["HAVE_TE"] is False
    assert vars(Linear)["tp_size"].__get__(Linear()) == 4


@pytest.fixture
def distributed(monkeypatch):
    """Makes Megatron's distributed optimizer around another one; it keeps what it loads."""

    class Distributed:
        def __init__(self, optimizer):
            self.optimizer, self.loaded = optimizer, None

        def state_dict(self):
            return len(self.optimizer.state)

        def load_state_dict(self, state):
            self.loaded = state

    put_modules(monkeypatch, {"megatron.core.optimizer.distrib_optimizer": {"DistributedOptimizer": Distributed}})
    patches.patch_distributed_optimizer()
    return Distributed


def adam():
    """Torch's Adam without its constructor, which imports for seconds; each of two parameters is a group."""
    parameters = [torch.nn.Parameter(torch.ones(2)) for _ in range(2)]
    made = torch.optim.Adam.__new__(torch.optim.Adam)
    made.param_groups, made.state = [{"params": [parameter]} for parameter in parameters], {}
    return made, parameters


def test_a_parameter_without_a_state_has_the_steps_of_the_others(distributed):
    optimizer, (first, second) = adam()
    assert distributed(optimizer).state_dict() == 2
    assert [float(optimizer.state[p]["step"]) for p in (first, second)] == [0, 0]
    assert optimizer.state[second]["exp_avg"].tolist() == optimizer.state[second]["exp_avg_sq"].tolist() == [0, 0]
    trained = {"step": torch.tensor(3.0), "exp_avg": torch.ones(2)}
    optimizer.state = {first: trained}
    distributed(optimizer).state_dict()
    assert float(optimizer.state[second]["step"]) == 3
    assert optimizer.state[first] is trained


def test_each_parameter_counts_its_own_steps_after_loading(distributed):
    optimizer, (first, second) = adam()
    wrapped = distributed(optimizer)
    wrapped.state_dict()
    for group, step in zip(optimizer.param_groups, (5, 6), strict=True):
        group["step"] = step
    wrapped.load_state_dict("saved")
    assert wrapped.loaded == "saved"
    assert [float(optimizer.state[p]["step"]) for p in (first, second)] == [5, 6]
    assert optimizer.state[first]["step"] is not optimizer.state[second]["step"]


def test_another_optimizer_is_left_alone(distributed):
    optimizer = SimpleNamespace(**vars(adam()[0]))
    wrapped = distributed(optimizer)
    assert wrapped.state_dict() == 0
    wrapped.load_state_dict("saved")
    assert optimizer.state == {}


def test_a_run_starts_without_cuda_and_saves_without_another_process(monkeypatch):
    calls = []
    initialize = lambda *arguments, **options: calls.append((*arguments, options))  # noqa: E731
    monkeypatch.setattr(patches, "use_built_helpers", lambda: calls.append("helpers"))
    modules = put_modules(
        monkeypatch,
        {
            "megatron.bridge.training.setup": {"initialize_megatron": initialize},
            "megatron.bridge.utils.instantiate_utils": {"register_allowed_target_prefix": calls.append},
            "megatron.core.dist_checkpointing.strategies.filesystem_async": {"get_write_results_queue": None},
        },
    )
    patches.patch_training_loop()
    assert calls == ["helpers", "nemotron.training.torch_layers.", "nemotron.training.cpu."]
    setup = vars(modules["megatron.bridge.training.setup"])
    assert isinstance(setup["initialize_megatron"], partial)
    setup["initialize_megatron"](1)
    assert calls[-1] == (1, {"allow_no_cuda": True})
    files = vars(modules["megatron.core.dist_checkpointing.strategies.filesystem_async"])
    assert isinstance(files["get_write_results_queue"]("fork"), queue.Queue)


def test_all_replacements_are_made_once(monkeypatch):
    made = []
    names = [name for name in vars(patches) if name.startswith("patch_")]
    for module, name in [(imports, "import_megatron"), *((patches, name) for name in names)]:
        monkeypatch.setattr(module, name, lambda name=name: made.append(name))
    activate = cache(torch_layers.activate.__wrapped__)  # what a test of Megatron has activated stays so
    for _ in range(2):
        activate()
    assert made == ["import_megatron", *names]


@pytest.fixture
def imported(monkeypatch):
    """What Megatron's import meets: of each module, which stand-ins it finds, and torch.compile."""
    imported = []

    def import_module(name):
        found = {
            n
            for n in ("mamba_ssm", "causal_conv1d", "transformer_engine", "nvidia_resiliency_ext")
            if sys.modules.get(n)
        }
        hidden = sys.modules.get("transformer_engine", "not hidden") is None
        imported.append((name, found, hidden, torch.compile is imports.leave_uncompiled))

    monkeypatch.setattr(imports, "importlib", SimpleNamespace(import_module=import_module))
    stack = SimpleNamespace(modules=("the stack",))
    line = SimpleNamespace(hybrid_stack=lambda: stack, IMPORTS_CUDA_PACKAGES=("the bridge",))
    monkeypatch.setattr(bridge, "installed", lambda: line)
    looked_up = {"get_mamba_version": None, "get_causal_conv1d_version": None}
    for name in looked_up:
        looked_up[name] = lambda name=name: imported.append((name, "mamba_ssm" in sys.modules))
    put_modules(monkeypatch, {"megatron.core.utils": looked_up})
    for name in ("megatron.core.ssm.mamba_mixer", "mamba_ssm", "transformer_engine"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return imported


def test_megatron_core_finds_mamba_kernels_and_no_transformer_engine(imported):
    before, compile_ = dict(sys.modules), torch.compile
    imports.import_megatron()
    kernels, engine = {"mamba_ssm", "causal_conv1d"}, {"transformer_engine", "nvidia_resiliency_ext"}
    core = (
        *("the stack", "megatron.core.models.gpt.gpt_layer_specs", "megatron.core.dist_checkpointing"),
        *("megatron.core.distributed", "megatron.core.optimizer"),
    )
    assert imported == [
        *((name, kernels, True, True) for name in core),
        ("get_mamba_version", True),
        ("get_causal_conv1d_version", True),
        ("the bridge", engine, False, True),
    ]
    assert dict(sys.modules) == before  # nothing else takes them for installed
    assert torch.compile is compile_


def test_packages_that_are_installed_are_back_afterwards(imported, monkeypatch):
    real = {name: ModuleType(name) for name in ("mamba_ssm", "transformer_engine")}
    for name, module in real.items():
        monkeypatch.setitem(sys.modules, name, module)
    imports.import_megatron()
    assert all(sys.modules[name] is module for name, module in real.items())


def test_stand_ins_are_found_in_their_packages():
    contents = {"made_up": {"__version__": "1"}, "made_up.ops": {"f": 1}}
    with imports._stand_ins(contents):
        import made_up.ops  # pyright: ignore[reportMissingImports]

        assert (made_up.__version__, made_up.ops.f) == ("1", 1)
        assert made_up.__spec__.submodule_search_locations == []
    assert "made_up" not in sys.modules


def test_stand_ins_have_what_megatron_imports_by_name():
    with imports._stand_ins(imports._MAMBA_STAND_INS):
        import causal_conv1d
        import mamba_ssm
        from mamba_ssm.ops.triton.layernorm_gated import RMSNorm
        from mamba_ssm.ops.triton.ssd_combined import mamba_chunk_scan_combined, mamba_split_conv1d_scan_combined
    assert (mamba_ssm.__version__, causal_conv1d.__version__) == ("2.2.6", "1.5.4")
    assert RMSNorm is mamba.GatedRMSNorm
    assert mamba_split_conv1d_scan_combined is mamba.split_conv1d_scan_combined
    assert mamba_chunk_scan_combined is None
    with imports._stand_ins(imports._BRIDGE_STAND_INS):
        import transformer_engine_torch  # noqa: F401
        from nvidia_resiliency_ext.inprocess import CallWrapper
        from transformer_engine.pytorch import Linear
        from transformer_engine.pytorch.ops import Sequential
    assert CallWrapper is Linear is Sequential is imports._Unused


def test_it_is_too_late_after_an_import_of_megatron(imported, monkeypatch):
    monkeypatch.setitem(sys.modules, "megatron.core.ssm.mamba_mixer", ModuleType("mamba_mixer"))
    with pytest.raises(RuntimeError, match="before anything imports Megatron"):
        imports.import_megatron()
    assert imported == []


def test_nothing_is_compiled():
    def double(x):
        return 2 * x

    assert imports.leave_uncompiled(double) is double
    assert imports.leave_uncompiled(mode="max")(double) is double


def test_the_stack_is_that_of_megatron_with_separate_norms(monkeypatch):
    """Checkpoints have the norms under the names of the fused layers."""
    classes = {
        "megatron.core.fusions.fused_bias_dropout": ["get_bias_dropout_add"],
        "megatron.core.ssm.mamba_layer": ["MambaLayer", "MambaLayerSubmodules"],
        "megatron.core.ssm.mamba_mixer": ["MambaMixer", "MambaMixerSubmodules"],
        "megatron.core.ssm.mlp_layer": ["MLPLayer"],
        "megatron.core.tensor_parallel": ["ColumnParallelLinear", "RowParallelLinear"],
        "megatron.core.transformer.attention": ["SelfAttention", "SelfAttentionSubmodules"],
        "megatron.core.transformer.mlp": ["MLPSubmodules"],
        "megatron.core.transformer.multi_token_prediction": [
            f"MultiTokenPrediction{name}" for name in ("Block", "BlockSubmodules", "Layer", "LayerSubmodules")
        ],
        "megatron.core.transformer.transformer_layer": [
            *("MoETransformerLayer", "TransformerLayer", "TransformerLayerSubmodules"),
        ],
    }
    contents = {
        module: {name: dict if name.endswith("Submodules") else name for name in names}
        for module, names in classes.items()
    }
    enums = {"AttnMaskType": SimpleNamespace(causal="causal")}
    spec = {"ModuleSpec": lambda module, submodules, **more: (module, submodules, *more.values())}
    ours = "nemotron.training.torch_layers"
    others = {
        "megatron.core.models.gpt.moe_module_specs": {"get_moe_module_spec": lambda **options: options},
        "megatron.core.transformer.enums": enums,
        "megatron.core.transformer.spec_utils": spec,
        f"{ours}.attention": {"PackedAttention": "PackedAttention"},
        f"{ours}.layers": {"RMSNorm": "RMSNorm"},
    }
    put_modules(monkeypatch, {**contents, **others})
    stack = SimpleNamespace(stack="stack", submodules=dict)
    line = SimpleNamespace(hybrid_stack=lambda: stack, mlp_submodule=lambda linears: ("mlp", linears))
    monkeypatch.setattr(bridge, "installed", lambda: line)
    made, submodules = import_again(monkeypatch, f"{ours}.spec").torch_hybrid_stack_spec()
    add, norm = "get_bias_dropout_add", "RMSNorm"
    column, row = "ColumnParallelLinear", "RowParallelLinear"
    mixer = ("MambaMixer", {"in_proj": column, "out_proj": row})
    attention = {"linear_qkv": column, "core_attention": "PackedAttention", "linear_proj": row}
    mtp = {"enorm": norm, "hnorm": norm, "eh_proj": column, "layer_norm": norm}
    keys = "sharded_state_dict_keys_map"
    assert made == "stack"
    assert submodules == {
        "mamba_layer": (
            "MambaLayer",
            {"norm": norm, "mixer": mixer, "mamba_bda": add, keys: {"norm.": "mixer.in_proj.layer_norm_"}},
        ),
        "attention_layer": (
            "TransformerLayer",
            {
                "input_layernorm": norm,
                "self_attention": ("SelfAttention", attention, {"attn_mask_type": "causal"}),
                "self_attn_bda": add,
                keys: {"input_layernorm.": "self_attention.linear_qkv.layer_norm_"},
            },
        ),
        "mlp_layer": (
            "MLPLayer",
            {
                "pre_mlp_layernorm": norm,
                "mlp": ("mlp", {"linear_fc1": column, "linear_fc2": row}),
                "mlp_bda": add,
                keys: {"pre_mlp_layernorm.": "mlp.linear_fc1.layer_norm_"},
            },
        ),
        "moe_layer": (
            "MoETransformerLayer",
            {
                "pre_mlp_layernorm": norm,
                "mlp": {"use_te": False, "num_experts": 8, "moe_grouped_gemm": False},
                "mlp_bda": add,
            },
        ),
        "mtp_block_spec": ("MultiTokenPredictionBlock", {"layer_specs": [("MultiTokenPredictionLayer", mtp)]}),
    }
