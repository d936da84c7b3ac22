"""What the 0.4 line hands to Megatron-Bridge and reads from it, with stand-ins for its functions."""

import os
from dataclasses import dataclass, fields
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.stand_ins import import_again, put_modules
from tests.training.bridge.stand_ins import Group, Rows, Specs, groups, stand_in_for_loaders

from nemotron.errors import UserError
from nemotron.training import bridge
from nemotron.training.bridge import v04, v04_weights


@dataclass(kw_only=True)
class Loader:
    """Megatron-Bridge's DataloaderConfig: its fields are no settings of the builder."""

    num_workers: int = 2
    dataloader_type: str = "batch"
    data_sharding: bool = True
    pin_memory: bool = True


@dataclass(kw_only=True)
class Dataset(Loader):
    """As much of FinetuningDatasetConfig as is set."""

    dataset_root: str
    seq_length: int
    packed_sequence_specs: Specs
    do_validation: bool
    do_test: bool
    dataset_kwargs: dict
    seed: int = 77


@pytest.fixture
def datasets(monkeypatch):
    """Megatron-Bridge's classes of packs; the list notes what each split was built from."""
    built = []

    class Builder:
        def __init__(self, **settings):
            built.append(settings)

        def build(self):
            return Rows("abcdefgh"), Rows("vw") if built[-1]["do_validation"] else None, None

    stock = type("Stock", (), {"_ensure_reader": lambda self, number: number})
    config = {"FinetuningDatasetConfig": Dataset, "DataloaderConfig": Loader}
    parts = {"DatasetProvider": type("DatasetProvider", (), {}), "DatasetBuildContext": SimpleNamespace}
    put_modules(
        monkeypatch,
        {
            "megatron.bridge.training.config": config | parts,
            "megatron.bridge.data.builders.finetuning_dataset": {"FinetuningDatasetBuilder": Builder},
            "megatron.bridge.data.datasets.packed_parquet": {"GPTSFTPackedParquetDataset": stock},
            "megatron.bridge.data.datasets.packed_sequence": {"PackedSequenceSpecs": Specs},
        },
    )
    import_again(monkeypatch, "nemotron.training.bridge.v04_datasets")
    return built


def dataset(valid: Path | None = Path("data/valid")):
    return v04.make_packed_dataset(bridge.Packs(Path("data/train"), valid, 512, {"num_workers": 2}, False), 4)


def test_packs_are_read_in_the_order_of_training(datasets):
    ours = dataset()
    assert isinstance(ours, v04.dataset_config())
    assert ours.packed_sequence_specs == Specs(512, "data/train", "data/valid", "data/metadata.json", 1)
    train, valid, test = ours.build_datasets(SimpleNamespace(tokenizer="tokenizer", train_samples=16))
    rows = [train[row] for row in range(len(train))]
    assert [sorted(rows[:8]), sorted(rows[8:])] == [list("abcdefgh")] * 2
    assert rows[:8] != rows[8:]
    assert test is None
    assert len(valid) == 0  # until an evaluation is set
    names = {field.name for field in fields(Dataset)} - {field.name for field in fields(Loader)}
    assert datasets == [{"tokenizer": "tokenizer", **{name: getattr(ours, name) for name in names}}]


def test_what_follows_from_the_packs_cannot_be_set():
    assert {"dataset_root", "packed_sequence_specs", "do_test", "max_train_samples"} == v04.FROM_DATA


def test_the_order_follows_from_the_seed_and_the_batch(datasets):
    def order(**changes):
        ours = dataset()
        for name, value in changes.items():
            setattr(ours, name, value)
        train, *_ = ours.build_datasets(SimpleNamespace(tokenizer=None, train_samples=6))
        return [train[row] for row in range(len(train))]

    assert order() == order()
    assert order(seed=78) != order()
    assert len(set(order(global_batch_size=3))) == 6


def test_without_a_valid_split_none_is_evaluated(datasets):
    assert dataset(valid=None).build_datasets(SimpleNamespace(tokenizer=None, train_samples=4))[1] is None


def test_an_evaluation_reads_whole_batches_of_the_valid_split(datasets):
    container = SimpleNamespace(dataset=dataset(), validation=SimpleNamespace())
    v04.set_evaluation(container, batch=4, iterations=3)
    assert container.validation.eval_iters == 3
    assert len(container.dataset.build_evaluation("tokenizer")) == 12
    assert [v04.count_evaluated_packs(container, packs) for packs in (11, 12, 13)] == [11, 12, 12]


def test_a_split_is_read_in_order_and_filled_up(datasets, monkeypatch):
    made = stand_in_for_loaders(monkeypatch)
    container = SimpleNamespace(dataset=dataset(None), train=SimpleNamespace(global_batch_size=4))
    container.dataset.valid_rows = 4
    batches = v04.split_iterator(container, "tokenizer", Path("data/test"), Group(rank=1, size=2))
    assert list(next(batches)) == ["v", "w", "filler", "filler"]
    [built] = datasets
    assert built["tokenizer"] == "tokenizer"
    assert built["packed_sequence_specs"].packed_val_data_path == "data/test"
    assert container.dataset.packed_sequence_specs.packed_val_data_path is None
    assert made == [{"rank": 1, "size": 2, "batch": 4}]


def test_variables_that_are_set_already_are_left_alone(monkeypatch):
    monkeypatch.setenv("SET_BEFORE", "kept")
    monkeypatch.delenv("NCCL_OF_A_TEST", raising=False)
    v04.set_environment(SimpleNamespace(), {"SET_BEFORE": "lost", "NCCL_OF_A_TEST": 3})
    assert (os.environ["SET_BEFORE"], os.environ.pop("NCCL_OF_A_TEST")) == ("kept", "3")


@pytest.mark.parametrize("handled", [True, False])
def test_a_signal_handler_that_is_asked_for_works_during_training(monkeypatch, handled):
    calls = []
    handler = SimpleNamespace(__enter__=lambda: calls.append("installed"), release=lambda: calls.append("removed"))
    train = SimpleNamespace(exit_signal_handler=handled)
    context = SimpleNamespace(state=SimpleNamespace(cfg=SimpleNamespace(train=train), signal_handler=handler))
    callback = {"Callback": object, "CallbackContext": SimpleNamespace}
    put_modules(monkeypatch, {"megatron.bridge.training.callbacks": callback})
    [heed] = v04.callbacks()
    heed.on_train_start(context)
    assert calls == (["installed"] if handled else [])
    heed.on_train_end(context)
    assert calls == (["installed", "removed"] if handled else [])


@pytest.mark.parametrize("routed", [True, False])
def test_adapters_on_routed_experts_are_told_from_others(monkeypatch, routed):
    put_modules(monkeypatch, {"megatron.bridge.peft.utils": {}})
    model = SimpleNamespace(expert_model_parallel_size=2)
    if routed:
        with pytest.raises(UserError, match=r"model\.expert_model_parallel_size"):
            v04.fit_adapters(model, routed)
    else:
        v04.fit_adapters(model, routed)


@dataclass
class PackedSeqParams:
    cu_seqlens: object
    cu_seqlens_argmin: object
    max_seqlen: object
    total_tokens: int | None = None


class Tensor(str):
    """A tensor that is told by its name; of the shape [1, 64]."""

    def cuda(self, non_blocking):
        return f"{self} on the device"

    def size(self, dimension):
        return (1, 64)[dimension]


@pytest.fixture
def megatron(monkeypatch):
    """Megatron-Bridge's reading of a batch on a pipeline stage; the list notes what it was asked for."""
    asked = []

    def get_batch(iterator, cfg, use_mtp, *, pg_collection):
        asked.append((cfg, use_mtp, pg_collection))
        batch = next(iterator)
        boundaries = ("cu_seqlens", "cu_seqlens_argmin", "max_seqlen", "more")
        return tuple(
            batch.get(name) for name in ("tokens", "labels", "loss_mask", "attention_mask", "position_ids", *boundaries)
        )

    put_modules(
        monkeypatch,
        {
            "megatron.bridge.training.gpt_step": {"get_batch": get_batch},
            "megatron.bridge.training.utils.packed_seq_utils": {
                "get_packed_seq_params": lambda packing: PackedSeqParams(**packing)
            },
            "megatron.core.pipeline_parallel.utils": {
                "is_pp_first_stage": lambda stage: stage == "first",
                "is_pp_last_stage": lambda stage: stage == "last",
            },
            "megatron.core.utils": {"get_model_config": lambda model: model},
        },
    )
    return asked


def batch(**changes):
    names = ("tokens", "labels", "loss_mask", "attention_mask", "position_ids")
    boundaries = {"cu_seqlens": Tensor("bounds"), "cu_seqlens_argmin": "count", "max_seqlen": "longest"}
    return {**{name: Tensor(name) for name in names}, **boundaries, **changes}


STATE = SimpleNamespace(cfg="settings")


@pytest.mark.parametrize("stage", ["first", "last"])
@pytest.mark.parametrize("mtp", [None, 2])
def test_an_outer_pipeline_stage_reads_what_megatron_bridge_gives_it(megatron, stage, mtp):
    mine = groups(cp=2)
    mine.pp = stage
    half = batch(tokens=None) if stage == "last" else batch()
    read = v04.read_micro_batch(STATE, iter([half]), SimpleNamespace(mtp_num_layers=mtp), mine)
    assert read.weights == "loss_mask"
    assert read.inputs == {
        "input_ids": half["tokens"],
        "position_ids": "position_ids",
        "attention_mask": "attention_mask",
        "labels": "labels",
        "packed_seq_params": PackedSeqParams("bounds", "count", "longest", 64),
    }
    assert megatron == [("settings", bool(mtp), mine)]


def test_a_pipeline_stage_between_gets_the_boundaries_of_its_packs(megatron):
    mine = groups(cp=2)
    mine.pp = "between"
    read = v04.read_micro_batch(STATE, iter([batch()]), SimpleNamespace(), mine)
    assert read == bridge.MicroBatch(
        {
            **dict.fromkeys(("input_ids", "position_ids", "attention_mask", "labels")),
            "packed_seq_params": PackedSeqParams("bounds on the device", "count", "longest", 32),
        },
        weights=None,
    )
    assert not megatron


def test_a_release_whose_mamba_cannot_be_told_where_sequences_end_is_refused(megatron, monkeypatch):
    older = dataclass(type("Older", (), {"__annotations__": {"cu_seqlens": object}}))
    module = "megatron.bridge.training.utils.packed_seq_utils"
    put_modules(monkeypatch, {module: {"get_packed_seq_params": lambda packing: older(packing["cu_seqlens"])}})
    mine = groups()
    mine.pp = "first"
    with pytest.raises(UserError, match=r"PackedSeqParams\.total_tokens"):
        v04.read_micro_batch(STATE, iter([batch()]), SimpleNamespace(), mine)


def test_the_stack_is_the_mamba_one(monkeypatch):
    module = "megatron.core.ssm.mamba_block"
    block = put_modules(monkeypatch, {module: {"MambaStack": int, "MambaStackSubmodules": str}})[module]
    layers = ("megatron.core.models.mamba.mamba_layer_specs", "megatron.core.models.mamba.mamba_model")
    assert v04.hybrid_stack() == bridge.HybridStack(block, int, str, "mamba_stack_spec", layers)


def test_a_dense_mlp_is_a_spec_of_its_submodules(monkeypatch):
    specs = {
        "megatron.core.transformer.mlp": {"MLP": int},
        "megatron.core.transformer.spec_utils": {"ModuleSpec": dict},
    }
    put_modules(monkeypatch, specs)
    assert v04.mlp_submodule("parts") == {"module": int, "submodules": "parts"}


@pytest.mark.parametrize("depth", [3, 0])
def test_mtp_layers_are_named_one_by_one(monkeypatch, depth):
    module = "megatron.bridge.models.nemotronh.nemotron_h_bridge"
    put_modules(monkeypatch, {module: {"_MTPFlatteningMapping": dict}})
    mappings = v04.conversion_mappings(SimpleNamespace(_mtp_layers_per_block=depth))
    layer, experts = "mtp.layers.*.mtp_model_layer.layers.*", "mlp.experts.local_experts.*"
    expected = {
        f"{layer}.input_layernorm.weight": "mtp.layers.*.norm.weight",
        f"{layer}.{experts}.linear_fc1.weight": "mtp.layers.*.mixer.experts.*.up_proj.weight",
        f"{layer}.{experts}.linear_fc2.weight": "mtp.layers.*.mixer.experts.*.down_proj.weight",
    }
    assert {m["megatron_param"]: m["hf_param"] for m in mappings} == (expected if depth else {})
    assert {m["mtp_layers_per_block"] for m in mappings} == ({depth} if depth else set())


@pytest.mark.parametrize(
    ("depths", "hf_config", "expected"),
    [
        (2, SimpleNamespace(mtp_use_repeated_layer=False), False),
        (2, SimpleNamespace(), True),
        (None, SimpleNamespace(), None),
    ],
)
def test_mtp_depths_share_a_layer_as_the_model_says(depths, hf_config, expected):
    provider = SimpleNamespace(mtp_num_layers=depths, mtp_use_repeated_layer=None)
    v04.complete_provider(provider, hf_config)
    assert provider.mtp_use_repeated_layer is expected


def test_there_are_no_virtual_stages():
    assert v04.model_chunk(object()) == 0


def test_weights_are_loaded_and_saved_as_later_lines_do(monkeypatch):
    calls = []
    monkeypatch.setattr(v04_weights, "load_adapters", lambda *arguments: calls.append(arguments))
    monkeypatch.setattr(v04_weights, "save_hf_weights", lambda *arguments: calls.append(arguments))
    v04.load_adapters(["chunk"], Path("iter"), "lora")
    v04.save_hf_weights("converter", ["chunk"], Path("folder"))
    assert calls == [(["chunk"], Path("iter"), "lora"), ("converter", ["chunk"], Path("folder"))]
