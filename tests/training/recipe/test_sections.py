"""Sections of the YAML put over a recipe, on stand-ins for Megatron-Bridge's config objects."""

import enum
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest
import torch
from tests.stand_ins import put_modules

from nemotron.errors import UserError
from nemotron.training import bridge
from nemotron.training.config import PeftConfig, SftConfig
from nemotron.training.recipe.sections import apply_sections, assign, field_types

COPIED = (
    *("model", "train", "validation", "optimizer", "scheduler", "ddp", "dist"),
    *("checkpoint", "logger", "tokenizer", "rng", "rerun_state_machine"),
)
FILLED_IN = {
    "train": ("train_iters", "train_samples", "num_epochs"),
    "scheduler": (
        *("lr_warmup_iters", "lr_warmup_samples", "lr_warmup_fraction", "lr_decay_iters", "lr_decay_samples"),
        *("lr_wsd_decay_iters", "lr_wsd_decay_samples"),
    ),
    "validation": ("eval_iters", "eval_global_batch_size"),
    "checkpoint": ("pretrained_checkpoint", "save", "load"),
    "logger": ("tensorboard_dir", "wandb_project", "wandb_entity", "wandb_exp_name", "wandb_save_dir"),
    "tokenizer": ("tokenizer_model",),
}
"""What depends on the data, on the ranks or on each other."""


@dataclass
class MixedPrecision:
    name: str
    grad_reduce_in_fp32: bool = True


@dataclass
class Overlap:
    tp_comm_overlap: bool
    overlap_grad_reduce: bool = False


@dataclass
class Profiling:
    use_pytorch_profiler: bool = False


@dataclass
class Peft:
    target_modules: list = field(default_factory=list)
    dim: int = 0
    alpha: int = 0
    dropout: float = 0.5


@dataclass
class PackedData:
    num_workers: int = 2
    seed: int = 1


def named_precision(name):
    if name == "half":
        raise ValueError("known are bf16_mixed and others")
    return MixedPrecision(name)


@pytest.fixture
def apply(monkeypatch):
    """Applies sections to a recipe that has every setting of them, at "recipe": `apply(mixed_precision=None)`."""
    line = SimpleNamespace(FROM_DATA=frozenset({"dataset_root"}), dataset_config=lambda: PackedData)
    monkeypatch.setattr(bridge, "installed", lambda: line)
    put_modules(
        monkeypatch,
        {
            "megatron.bridge.training.comm_overlap": {"CommOverlapConfig": Overlap},
            "megatron.bridge.training.config": {"ProfilingConfig": Profiling},
            "megatron.bridge.training.mixed_precision": {"get_mixed_precision_config": named_precision},
        },
    )

    def applied(recipe_precision: Any = "bf16_mixed", optional=None, **sections):
        config = SftConfig(**sections)
        container = SimpleNamespace(
            mixed_precision=recipe_precision,
            **{"comm_overlap": None, "profiling": None, "peft": Peft()} | (optional or {}),
            **{name: recipe_section(name, getattr(config, name)) for name in COPIED},
        )
        apply_sections(container, config, {"comm_overlap.overlap_gard_reduce": "mine.yaml:3"})
        return container

    return applied


def recipe_section(name, values):
    """A dataclass with these fields and those that others set, each set to "recipe"."""
    precision = ("bf16", "first_last_layers_bf16")
    mtp = ("mtp_num_layers", "mtp_hybrid_override_pattern")
    own = {"model": ("moe_router_bias_update_rate", *precision, *mtp), "optimizer": ("bf16",)}
    names = dict.fromkeys((*values, *own.get(name, ())))
    return make_dataclass(name, [(key, Any, "recipe") for key in names])()


def test_every_value_of_a_section_wins_over_the_recipe_but_what_follows_from_data_and_plan(apply):
    given = {name: {"neighbour": name, **dict.fromkeys(FILLED_IN.get(name, ()), 1)} for name in COPIED}
    container = apply(**given)
    for name in COPIED:
        section = getattr(container, name)
        assert section.neighbour == name
        assert {getattr(section, key) for key in FILLED_IN.get(name, ())} <= {"recipe"}, name


def test_mixed_precision_may_be_a_name(apply):
    container = apply(mixed_precision="bf16_with_fp8", recipe_precision=MixedPrecision("recipe"))
    assert container.mixed_precision == MixedPrecision("bf16_with_fp8")
    assert container.model.bf16 == "recipe"  # float32 is for null alone


def test_a_precision_that_megatron_bridge_does_not_have_is_refused(apply):
    with pytest.raises(UserError, match=r"mixed_precision is 'half': known are bf16_mixed"):
        apply(mixed_precision="half")


@pytest.mark.parametrize("recipe", ["bf16_mixed", MixedPrecision("bf16_mixed")])
def test_single_settings_of_mixed_precision_are_put_over_the_recipes(apply, recipe):
    container = apply(mixed_precision={"grad_reduce_in_fp32": False}, recipe_precision=recipe)
    assert container.mixed_precision == MixedPrecision("bf16_mixed", grad_reduce_in_fp32=False)


def test_without_mixed_precision_a_run_is_float32(apply):
    container = apply(mixed_precision=None)
    assert container.mixed_precision is None
    assert (container.model.bf16, container.optimizer.bf16) == (False, False)


@pytest.mark.parametrize(
    ("section", "key", "made", "there"),
    [
        ("comm_overlap", "overlap_grad_reduce", Overlap(False, True), Overlap(True)),
        ("profiling", "use_pytorch_profiler", Profiling(True), Profiling()),
    ],
)
def test_an_optional_section_is_made_where_the_recipe_has_none(apply, section, key, made, there):
    assert getattr(apply(), section) is None
    assert getattr(apply(**{section: {key: True}}), section) == made
    kept = getattr(apply(**{section: {key: True}}, optional={section: there}), section)
    assert kept is there
    assert getattr(there, key) is True


def test_adapters_are_what_the_config_says_and_biases_stay(apply):
    """They would be lost: they are trained, but not saved with adapters."""
    whole = apply()
    assert (whole.peft, whole.model.moe_router_bias_update_rate) == (Peft(), "recipe")
    container = apply(peft=PeftConfig("lora", ["in_proj"], dim=4, alpha=8, dropout=0.25))
    assert container.peft == Peft(["in_proj"], 4, 8, 0.25)
    assert container.model.moe_router_bias_update_rate == 0


@pytest.mark.parametrize(("depths", "pattern"), [(None, None), (0, None), (2, "recipe")])
def test_a_model_without_mtp_has_no_pattern_for_it_either(apply, depths, pattern):
    """The pattern alone would make the layers."""
    assert apply(model={"mtp_num_layers": depths}).model.mtp_hybrid_override_pattern == pattern


def test_settings_of_the_dataset_are_known_by_its_class_or_by_us(apply):
    container = apply(dataset=dict.fromkeys(("num_workers", "seq_length", "pad_seq_to_mult"), 4))
    assert not hasattr(container, "dataset")  # it is built later


def test_a_setting_that_the_dataset_does_not_have_is_refused(apply):
    with pytest.raises(UserError, match=r"dataset\.num_worker .*PackedData") as error:
        apply(dataset={"num_worker": 4})
    assert "dataset.num_workers" in str(error.value.hint)


def test_a_setting_that_follows_from_the_data_is_refused(apply):
    with pytest.raises(UserError, match=r"dataset\.dataset_root"):
        apply(dataset={"dataset_root": "here"})


def test_a_setting_that_a_section_does_not_have_is_refused_with_its_line(apply):
    with pytest.raises(UserError, match=r"mine\.yaml:3: comm_overlap\.overlap_gard_reduce "):
        apply(comm_overlap={"overlap_gard_reduce": True})


class Backend(enum.Enum):
    auto = 1
    fused = 2


@dataclass
class Settings:
    train_iters: int | None = None
    lr: float = 5e-6
    style: Literal["constant", "cosine"] = "cosine"
    params_dtype: torch.dtype = torch.float32
    backend: Backend = Backend.auto
    overlap: bool = False
    modules: list[str] = field(default_factory=list)
    betas: tuple[float, float] = (0.9, 0.95)
    folder: Path | None = None
    named: dict | None = None
    label: str = ""
    numbers: list[int] | None = None
    anything: Any = None


def test_values_are_set_and_others_left_alone():
    settings = Settings()
    assign(settings, "optimizer", {"lr": 1e-5, "overlap": False}, {})
    assert settings == Settings(lr=1e-5)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("train_iters", None, None),
        ("train_iters", 7, 7),
        ("lr", 1, 1.0),
        ("params_dtype", "bfloat16", torch.bfloat16),
        ("backend", "fused", Backend.fused),
        ("backend", Backend.fused, Backend.fused),  # as our own code sets it
        ("modules", ["a"], ["a"]),
        ("betas", [0.9, 0.98], (0.9, 0.98)),
        ("folder", "/data", "/data"),  # Megatron makes a path of it
        ("anything", {"a": 1}, {"a": 1}),
        ("style", "constant", "constant"),
        ("named", {"a": 1}, {"a": 1}),
        ("numbers", [1], [1]),
    ],
)
def test_values_are_read_as_yaml_spells_them(key, value, expected):
    settings = Settings()
    assign(settings, "section", {key: value}, {})
    assert getattr(settings, key) == expected


def test_a_misspelt_key_names_its_place_and_the_nearest():
    with pytest.raises(UserError) as error:
        assign(Settings(), "train", {"train_itres": 5}, {"train.train_itres": "my.yaml:3"})
    assert error.value.message.startswith("my.yaml:3: train.train_itres ")
    assert error.value.hint == 'Did you mean "train.train_iters"?'


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [
        ("train_iters", "five", "a whole number or null"),
        ("train_iters", True, "a whole number or null"),
        ("lr", "fast", "a number"),
        ("overlap", 1, "true or false"),
        ("params_dtype", "float99", "a torch dtype such as bfloat16"),
        ("params_dtype", "nn", "a torch dtype such as bfloat16"),
        ("lr", True, "a number"),
        ("train_iters", 5.0, "a whole number or null"),
        ("modules", "a", "a list"),
        ("backend", "fsed", "'auto' or 'fused'"),
        ("backend", ["fused"], "'auto' or 'fused'"),
        ("backend", 2, "'auto' or 'fused'"),
        ("named", ["a"], "a mapping or null"),
        ("label", 5, "text"),
        ("numbers", 5, "a list or null"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(key, value, wanted):
    with pytest.raises(UserError) as error:
        assign(Settings(), "section", {key: value}, {f"section.{key}": "command line"})
    assert error.value.message.startswith(f"command line: section.{key} is {value!r}")
    assert error.value.message.endswith(f", which is not {wanted}.")


def test_an_annotation_that_cannot_be_read_allows_anything():
    """Some releases name classes there that are only imported for type checkers."""
    made = make_dataclass("Made", [("lr", "NoSuchClass", 1.0)])
    assert field_types(made) == {"lr": Any}
    assert field_types(Settings)["lr"] is float


def test_a_misspelt_choice_names_the_nearest():
    with pytest.raises(UserError) as error:
        assign(Settings(), "scheduler", {"style": "constnat"}, {})
    assert error.value.hint == 'Did you mean "constant"?'
