"""Adapters by Megatron-Bridge's names, loaded by peft: the model is then the one with W + alpha/dim B A, by hand."""

import json
import warnings

import pytest
import torch
from safetensors.torch import save_file

from nemotron.config import config_dir
from nemotron.training.weights.peft_folder import adapter_config, for_peft

RANK, ALPHA = 4, 12
WRITTEN = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": ALPHA, "inference_mode": True,
           "lora_dropout": 0.1}  # fmt: skip


@pytest.fixture
def base():
    from transformers import AutoConfig, AutoModelForCausalLM  # seconds that the quick suite does not need

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(config_dir() / "tiny_model")).eval()
    torch.set_num_threads(threads)


def adapt(model, is_adapted):
    """Add random adapters to a model by hand; returns them as the bridge names them, and the merged weights."""
    adapters, merged = {}, {}

    def update(name, weight):
        before, after = torch.randn(RANK, weight.shape[1]) / 4, torch.randn(weight.shape[0], RANK) / 4
        stored = f"base_model.model.{name.replace('model.', 'backbone.', 1)}"
        adapters[f"{stored}.lora_A.weight"], adapters[f"{stored}.lora_B.weight"] = before, after
        weight += ALPHA / RANK * after @ before

    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() == 3 and "experts." in name and is_adapted(name):
                layer, _, projection = name.rpartition(".")
                for number, expert in enumerate(weight):
                    update(f"{layer}.{number}.{projection}", expert)
            elif name.endswith("_proj.weight") and is_adapted(name):
                update(name.removesuffix(".weight"), weight)
                if "out_proj" in name:
                    merged[name.removesuffix(".weight")] = weight.clone()
    return adapters, merged


def test_the_experts_of_a_layer_are_one_adapter_in_the_order_that_peft_reads():
    """peft has the factors A of the experts one below the other; of B, expert by expert, the columns of each rank."""
    name = "base_model.model.backbone.layers.1.mixer.experts.{}.up_proj.lora_{}.weight"
    adapters = {
        name.format(1, "A"): torch.tensor([[5, 6], [7, 8]]),
        name.format(1, "B"): torch.tensor([[50, 60], [70, 80]]),
        name.format(0, "A"): torch.tensor([[1, 2], [3, 4]]),
        name.format(0, "B"): torch.tensor([[10, 20], [30, 40]]),
    }
    assert {name: weight.tolist() for name, weight in for_peft(adapters, {}).items()} == {
        "base_model.model.model.layers.1.mixer.experts.lora_A.weight": [[1, 2], [3, 4], [5, 6], [7, 8]],
        "base_model.model.model.layers.1.mixer.experts.lora_B.weight": [[10, 50, 20, 60], [30, 70, 40, 80]],
    }


def test_of_two_adapters_on_the_experts_the_first_is_the_inner_one():
    """peft wraps the module once for each parameter. What only one layer has is not taken for another's."""
    name = "base_model.model.backbone.layers.{}.mixer.experts.0.{}.lora_A.weight"
    both = {name.format(1, "up_proj"): 1, name.format(1, "down_proj"): 2, name.format(2, "up_proj"): 3}
    adapters = {key: torch.full((RANK, 2), value) for key, value in both.items()}
    layer = "base_model.model.model.layers.{}.mixer.experts{}.lora_A.weight"
    found = {key: int(weight[0, 0]) for key, weight in for_peft(adapters, {}).items()}
    assert found == {layer.format(1, ".base_layer"): 1, layer.format(1, ""): 2, layer.format(2, ""): 3}


NAMES = [
    "base_model.model.backbone.layers.0.mixer.in_proj.lora_A.weight",
    "base_model.model.backbone.layers.0.mixer.in_proj.lora_B.weight",
    "base_model.model.backbone.layers.0.mixer.out_proj.lora_A.weight",
    "base_model.model.backbone.layers.1.mixer.experts.0.up_proj.lora_A.weight",
    "base_model.model.backbone.layers.1.mixer.experts.1.up_proj.lora_A.weight",
    "base_model.model.backbone.layers.1.mixer.experts.1.down_proj.lora_A.weight",
    "base_model.model.backbone.layers.1.mixer.shared_experts.up_proj.lora_A.weight",
    "base_model.model.mtp.layers.0.mixer.q_proj.lora_A.weight",
]
"""As Megatron-Bridge writes them: of Mamba, of experts and of multi-token prediction."""
MERGED = {"model.layers.0.mixer.out_proj": torch.ones(1, 1)}


def test_merged_weights_are_in_the_place_of_adapters_and_those_of_mtp_are_left_out():
    weights = for_peft({name: torch.ones(RANK, RANK) for name in NAMES}, MERGED)
    assert all(weight.is_contiguous() for weight in weights.values())
    assert sorted(weights) == [
        "base_model.model.model.layers.0.mixer.in_proj.lora_A.weight",
        "base_model.model.model.layers.0.mixer.in_proj.lora_B.weight",
        "base_model.model.model.layers.0.mixer.out_proj.weight",
        "base_model.model.model.layers.1.mixer.experts.base_layer.lora_A.weight",
        "base_model.model.model.layers.1.mixer.experts.lora_A.weight",
        "base_model.model.model.layers.1.mixer.shared_experts.up_proj.lora_A.weight",
    ]


@pytest.mark.parametrize(
    ("by_layer", "modules", "parameters", "saved"),
    [
        (False, ["in_proj", "up_proj"], ["mixer.experts.up_proj", "mixer.experts.down_proj"], ["out_proj"]),
        (
            True,
            ["model.layers.0.mixer.in_proj", "model.layers.1.mixer.shared_experts.up_proj"],
            ["model.layers.1.mixer.experts.up_proj", "model.layers.1.mixer.experts.down_proj"],
            ["model.layers.0.mixer.out_proj"],
        ),
    ],
)
def test_peft_is_told_which_modules_and_parameters_are_adapted(by_layer, modules, parameters, saved):
    adapters = dict.fromkeys(NAMES, torch.ones(1))
    assert adapter_config(WRITTEN, adapters, MERGED, by_layer=by_layer) == {
        **WRITTEN,
        "target_modules": modules,
        "target_parameters": parameters,
        "modules_to_save": saved,
        "lora_dropout": 0.0,
    }


@pytest.mark.parametrize("by_layer", [True, False])
def test_without_experts_and_merged_weights_there_are_no_lists_of_them(by_layer):
    config = adapter_config(WRITTEN, {NAMES[0]: torch.ones(1)}, {}, by_layer=by_layer)
    assert (config["target_parameters"], config["modules_to_save"]) == (None, None)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("is_adapted", "by_layer"),
    [
        (lambda name: True, False),
        (lambda name: "out_proj" not in name and "experts" not in name, False),
        (lambda name: "layers.1." in name and "up_proj" in name, True),  # '*.layers.1.*.linear_fc1'
        (lambda name: "layers.0." in name or "layers.4." in name, True),
    ],
)
def test_peft_makes_the_same_model_of_them(base, tmp_path, monkeypatch, is_adapted, by_layer):
    peft = pytest.importorskip("peft")
    # Tests with Megatron put a stand-in for Transformer Engine into this process, which has no layers.
    monkeypatch.setattr("peft.tuners.lora.te.is_te_pytorch_available", lambda: False)
    ids = torch.tensor([[7, 8, 9, 100, 200, 300, 5, 6]])
    state = {name: value.clone() for name, value in base.state_dict().items()}
    adapters, merged = adapt(base, is_adapted)
    # Of multi-token prediction, which transformers does not have.
    adapters["base_model.model.mtp.layers.0.mixer.q_proj.lora_A.weight"] = torch.randn(RANK, 128)
    config = adapter_config(WRITTEN, adapters, merged, by_layer=by_layer)
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    save_file(for_peft(adapters, merged), tmp_path / "adapter_model.safetensors")
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("error")  # of keys that are missing, or left over
        by_hand = base(ids).logits
        base.load_state_dict(state)
        assert (base(ids).logits - by_hand).abs().max() > 1e-3
        loaded = peft.PeftModel.from_pretrained(base, tmp_path)
        torch.testing.assert_close(loaded(ids).logits, by_hand, atol=1e-5, rtol=0)
        torch.testing.assert_close(loaded.merge_and_unload()(ids).logits, by_hand, atol=1e-5, rtol=0)
