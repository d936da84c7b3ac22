"""What the 0.6 line hands to Megatron-Bridge and reads from it, with stand-ins for its functions."""

from dataclasses import dataclass, fields
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.stand_ins import put_modules
from tests.training.bridge.stand_ins import Group, Rows, Specs, groups, stand_in_for_loaders

from nemotron.training import bridge
from nemotron.training.bridge import v06

RECIPES = "megatron.bridge.recipes.nemotronh.h100.nemotron_3_super"


@dataclass
class Dataset:
    """As much of GPTSFTDatasetConfig as is set."""

    dataset_root: str
    seq_length: int
    enable_offline_packing: bool
    offline_packing_specs: Specs
    do_validation: bool
    do_test: bool
    dataset_kwargs: dict
    num_workers: int = 2
    dataloader_type: str = "batch"
    data_sharding: bool = True
    pin_memory: bool = True
    seed: int = 77


@pytest.mark.parametrize("scheme", [None, "dora"])
def test_the_recipe_reads_the_model_from_its_constant(monkeypatch, scheme):
    contents = {
        "NEMOTRON_3_SUPER_HF_MODEL_ID": "the hub's",
        "nemotron_3_super_sft_16gpu_h100_bf16_config": lambda: ("sft", recipes.NEMOTRON_3_SUPER_HF_MODEL_ID),
        "nemotron_3_super_peft_1gpu_h100_bf16_config": lambda peft_scheme: (
            peft_scheme,
            recipes.NEMOTRON_3_SUPER_HF_MODEL_ID,
        ),
    }
    recipes = put_modules(monkeypatch, {RECIPES: contents})[RECIPES]
    assert v06.super_recipe("mine", scheme) == (scheme or "sft", "mine")
    assert recipes.NEMOTRON_3_SUPER_HF_MODEL_ID == "the hub's"


@pytest.fixture
def datasets(monkeypatch):
    """Megatron-Bridge's classes of packs, and the one that reads a split and notes its config and tokenizer."""

    built = []

    class Builder:
        def __init__(self, config, tokenizer):
            built.append((config, tokenizer))

        def build(self):
            return "train", Rows("abcde"), "test"

    stock = type("Stock", (), {"_ensure_reader": lambda self, number: number})
    put_modules(
        monkeypatch,
        {
            "megatron.bridge.data.builders.gpt_sft": {
                "GPTSFTDatasetConfig": Dataset,
                "GPTSFTDatasetBuilder": Builder,
            },
            "megatron.bridge.data.packing.parquet": {"GPTSFTPackedParquetDataset": stock},
            "megatron.bridge.data.packing.config": {"PackedSequenceSpecs": Specs},
        },
    )
    return built


def test_packs_are_read_as_they_are(datasets):
    packs = bridge.Packs(
        Path("data/train"),
        Path("data/valid"),
        512,
        {"num_workers": 5, "pad_seq_to_mult": 8},
        conversation_targets=False,
    )
    assert v06.make_packed_dataset(packs, 16) == Dataset(
        dataset_root="data",
        seq_length=512,
        enable_offline_packing=True,
        offline_packing_specs=Specs(512, "data/train", "data/valid", "data/metadata.json", 8),
        do_validation=True,
        do_test=False,
        dataset_kwargs={"pad_to_max_length": True},
        num_workers=5,
    )


def test_what_follows_from_the_packs_cannot_be_set():
    may_be_set = {"seq_length", "do_validation", "dataset_kwargs", "num_workers", "dataloader_type", "data_sharding"}
    ours = {field.name for field in fields(Dataset)} - may_be_set - {"pin_memory", "seed"}
    assert ours | {"hf_dataset"} == v06.FROM_DATA  # another source of data


@pytest.mark.parametrize("before", [None, {"A": "kept", "B": "replaced"}])
def test_variables_are_added_to_those_of_the_recipe(before):
    container = SimpleNamespace(env_vars=before)
    v06.set_environment(container, {"B": "2", "C": "3"})
    assert container.env_vars == {**(before or {}), "B": "2", "C": "3"}


@pytest.mark.parametrize(("largest", "expected"), [(None, (8, 2)), (4, (4, 4))])
def test_a_split_is_evaluated_in_batches_of_training_or_smaller_ones(largest, expected):
    assert v06.evaluation(packs=15, ranks=2, global_batch_size=8, largest=largest, asked=None) == expected


def test_an_evaluation_is_set_to_read_the_whole_split(monkeypatch):
    loaders = put_modules(monkeypatch, {"megatron.bridge.data.loaders": {"build_train_valid_test_data_loaders": print}})
    container = SimpleNamespace(validation=SimpleNamespace())
    v06.set_evaluation(container, batch=4, iterations=3)
    assert vars(container.validation) == {
        "eval_iters": 3,
        "eval_global_batch_size": 4,
        "eval_micro_batch_size": 1,
    }
    assert loaders["megatron.bridge.data.loaders"].build_train_valid_test_data_loaders is not print
    assert [v06.count_evaluated_packs(container, packs) for packs in (11, 12, 13)] == [11, 12, 12]


def test_a_split_is_read_in_order_and_filled_up(datasets, monkeypatch):
    made = stand_in_for_loaders(monkeypatch)
    specs = Specs(512, "data/train", "data/valid", "data/metadata.json", 1)
    config = Dataset("data", 512, True, specs, do_validation=False, do_test=False, dataset_kwargs={})
    container = SimpleNamespace(
        dataset=config, validation=SimpleNamespace(eval_iters=2, eval_global_batch_size=4, eval_micro_batch_size=1)
    )
    batches = v06.split_iterator(container, "tokenizer", Path("data/test"), Group(rank=1, size=2))
    [(read, tokenizer)] = datasets
    assert tokenizer == "tokenizer"
    assert (read.do_validation, read.offline_packing_specs.packed_val_data_path) == (True, "data/test")
    assert config.offline_packing_specs.packed_val_data_path == "data/valid"
    assert list(next(batches)) == [*"abcde", "filler", "filler", "filler"]
    assert made == [{"rank": 1, "size": 2, "batch": 4, "seed": 77}]


def test_a_model_without_virtual_stages_is_the_first_chunk(monkeypatch):
    module = "megatron.bridge.training.utils.flop_utils"
    put_modules(monkeypatch, {module: {"get_model_chunk_vp_stage": lambda model: model.chunk}})
    assert [v06.model_chunk(SimpleNamespace(chunk=chunk)) for chunk in (None, 0, 2)] == [0, 0, 2]


@pytest.fixture
def megatron(monkeypatch):
    """Megatron-Bridge's reading of a batch: its fields are the iterator's; the list notes what it was asked for."""
    calls = []

    def get_batch(iterator, cfg, use_mtp, *, pg_collection, vp_stage):
        calls.append(("batch", cfg, use_mtp, pg_collection, vp_stage))
        batch = {} if iterator is None else next(iterator)
        names = ("tokens", "labels", "loss_mask", "attention_mask", "position_ids", "packing")
        return tuple(batch.get(name) for name in names)

    def accumulate(state, tokens, *, vp_stage, config_seq_len, cu_seqlens):
        calls.append(("flops", state, tokens, vp_stage, config_seq_len, cu_seqlens))

    put_modules(
        monkeypatch,
        {
            "megatron.bridge.training.gpt_step": {"get_batch": get_batch},
            "megatron.bridge.training.utils.flop_utils": {
                "accumulate_flops_metadata": accumulate,
                "get_model_chunk_vp_stage": lambda model: model.chunk,
            },
            "megatron.bridge.training.utils.packed_seq_utils": {"get_packed_seq_params": dict},
            "megatron.core.utils": {"get_model_config": lambda model: model.config},
        },
    )
    monkeypatch.setattr(v06, "padding_mask", lambda padding, packing, *rest: ("mask", padding, dict(packing), *rest))
    return calls


def chunk(experts=8, mtp=2, number=1):
    return SimpleNamespace(
        chunk=number, config=SimpleNamespace(mtp_num_layers=mtp, num_moe_experts=experts, seq_length=64)
    )


STATE = SimpleNamespace(cfg="settings")
TOKENS = SimpleNamespace(size=lambda dimension: (1, 32)[dimension])
"""A rank's half of 64 positions, of which only the shape is looked at."""


def batch(**changes):
    packing = {"cu_seqlens_q": [0, 60], "cu_seqlens_kv": [0, 61], "max_seqlen_q": 60}
    fields = {"tokens": TOKENS, "labels": "labels", "loss_mask": "weights", "attention_mask": "attention"}
    return {**fields, "position_ids": "positions", "padding": "padding", "packing": packing, **changes}


def test_a_micro_batch_has_what_the_model_takes_and_the_weights(megatron):
    model, alone = chunk(), groups()
    packing = batch()["packing"] | {"total_tokens": 32}
    read = v06.read_micro_batch(STATE, iter([batch()]), model, alone)
    assert read.weights == "weights"
    assert read.inputs == {
        "input_ids": TOKENS,
        "position_ids": "positions",
        "attention_mask": "attention",
        "labels": "labels",
        "packed_seq_params": packing,
        "padding_mask": ("mask", "padding", packing, model, model.config, alone),
    }
    assert megatron == [("batch", "settings", True, alone, 1), ("flops", STATE, TOKENS, 1, 64, [0, 60])]


def test_padded_sequences_end_where_their_padding_ends(megatron):
    """Megatron-Core's MTP would cut the others in the wrong place."""
    packing = {"cu_seqlens_q": [0, 3, 5], "cu_seqlens_kv": [0, 3, 5]}
    padded = {"cu_seqlens_q_padded": [0, 4, 8], "cu_seqlens_kv_padded": [0, 5, 9]}
    read = v06.read_micro_batch(STATE, iter([batch(packing=packing | padded)]), chunk(), groups())
    boundaries = read.inputs["packed_seq_params"]
    assert (boundaries["cu_seqlens_q"], boundaries["cu_seqlens_kv"]) == ([0, 4, 8], [0, 5, 9])


def test_with_context_parallelism_megatron_counts_the_operations_of_whole_sequences(megatron):
    v06.read_micro_batch(STATE, iter([batch()]), chunk(), groups(cp=2))
    assert megatron[1][-1] is None


def test_a_pipeline_stage_without_tokens_counts_them_by_its_labels_or_the_sequence_length(megatron):
    """The last stage has labels; those between have neither, and still the pack's boundaries."""
    last = v06.read_micro_batch(STATE, iter([batch(tokens=None, labels=TOKENS)]), chunk(), groups())
    assert last.inputs["packed_seq_params"]["total_tokens"] == 32
    between = v06.read_micro_batch(STATE, iter([batch(tokens=None, labels=None)]), chunk(), groups())
    assert between.inputs["packed_seq_params"]["total_tokens"] == 64


def test_a_pipeline_stage_without_data_reads_nothing(megatron):
    read = v06.read_micro_batch(STATE, None, chunk(mtp=None), groups())
    assert read == bridge.MicroBatch(
        dict.fromkeys(("input_ids", "position_ids", "attention_mask", "labels")), weights=None
    )
    assert megatron[0][2] is False


def test_without_experts_there_is_nothing_to_mask(megatron):
    assert "padding_mask" not in v06.read_micro_batch(STATE, iter([batch()]), chunk(experts=None), groups()).inputs


def test_boundaries_that_megatron_gives_a_stage_without_data_are_kept(megatron, monkeypatch):
    given = {"get_batch": lambda *_, **__: (*[None] * 5, {"cu_seqlens_q": [0, 9]})}
    put_modules(monkeypatch, {"megatron.bridge.training.gpt_step": given})
    inputs = v06.read_micro_batch(STATE, None, chunk(), groups()).inputs
    assert inputs["packed_seq_params"] == {"cu_seqlens_q": [0, 9], "total_tokens": 64}
    assert "padding_mask" not in inputs


def test_the_stack_is_the_hybrid_one(monkeypatch):
    module = "megatron.core.models.hybrid.hybrid_block"
    block = put_modules(monkeypatch, {module: {"HybridStack": int, "HybridStackSubmodules": str}})[module]
    layers = ("megatron.core.models.hybrid.hybrid_layer_specs", "megatron.core.models.hybrid.hybrid_model")
    assert v06.hybrid_stack() == bridge.HybridStack(block, int, str, "hybrid_stack_spec", layers)


def test_a_dense_mlp_is_made_of_its_submodules(monkeypatch):
    mlp = SimpleNamespace(as_mlp_submodule=lambda *arguments, **options: (arguments, options))
    put_modules(monkeypatch, {"megatron.core.transformer.mlp": {"MLP": mlp}})
    assert v06.mlp_submodule("parts")("config") == (("config",), {"submodules": "parts"})


@pytest.mark.parametrize(("pattern", "depth"), [("*EE", 3), ("", None)])
def test_the_norms_of_mtp_layers_are_named_one_by_one(monkeypatch, pattern, depth):
    module = "megatron.bridge.models.nemotronh.nemotron_h_bridge"
    put_modules(monkeypatch, {module: {"_MTPFlatteningMapping": dict}})
    converter = SimpleNamespace(hf_config="config", _hf_mtp_config=lambda config: (config, pattern))
    expected = {
        "megatron_param": "mtp.layers.*.mtp_model_layer.layers.*.input_layernorm.weight",
        "hf_param": "mtp.layers.*.norm.weight",
        "mtp_layers_per_block": depth,
    }
    assert v06.conversion_mappings(converter) == ([expected] if depth else [])


def test_adapters_are_loaded_by_megatron_bridge(monkeypatch):
    loaded = []

    def load(*arguments, **options):
        loaded.append((*arguments, options))

    put_modules(monkeypatch, {"megatron.bridge.peft.utils": {"load_peft_adapter_checkpoint": load}})
    v06.load_adapters(["chunk"], Path("iter_0000003"), "lora")
    assert loaded == [(["chunk"], Path("iter_0000003"), "lora", {"fully_parallel_load": False})]


def test_weights_are_saved_by_megatron_bridge_without_a_progress_bar():
    saved = []
    converter = SimpleNamespace(save_hf_weights=lambda *arguments, **options: saved.append((*arguments, options)))
    v06.save_hf_weights(converter, ["chunk"], Path("folder"))
    assert saved == [(["chunk"], Path("folder"), {"show_progress": False})]
