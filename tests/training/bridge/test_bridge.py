"""Which release is installed, what is said of others, and the batches that the 0.4 line is given."""

import logging
import shutil
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.stand_ins import put_modules
from tests.training.checkpoints.made_up import write_checkpoint

from nemotron.errors import UserError
from nemotron.training import bridge
from nemotron.training.bridge import v04, v06, versions
from nemotron.training.bridge.pack_order import EpochOrder, FilledUp


def pretend(monkeypatch, megatron_bridge):
    monkeypatch.setattr(versions, "_release_of", lambda name: megatron_bridge if name == "megatron-bridge" else "0.1")


@pytest.mark.parametrize("tested", bridge.TESTED_RELEASES)
def test_a_tested_release_passes_silently(monkeypatch, caplog, tested):
    pretend(monkeypatch, tested)
    assert bridge.check_release() == tested
    assert not caplog.records


def test_another_release_is_warned_about_with_the_tested_ones(monkeypatch, caplog):
    pretend(monkeypatch, "0.5.1")
    with caplog.at_level(logging.WARNING):
        bridge.check_release()
    [message] = caplog.messages
    assert all(release in message for release in ("0.5.1", "0.6.2", "0.4.2"))


def test_no_release_is_an_error(monkeypatch):
    pretend(monkeypatch, None)
    with pytest.raises(UserError, match="not installed"):
        bridge.check_release()


def test_a_missing_module_is_named_with_the_release(monkeypatch):
    pretend(monkeypatch, "0.9")
    with pytest.raises(UserError) as error, bridge.name_what_is_missing():
        import megatron.nothing_of_this_name  # noqa: F401  # pyright: ignore
    for named in ("megatron-bridge 0.9", "megatron-core 0.1"):
        assert named in error.value.message
    assert error.value.message.endswith("has no megatron.nothing_of_this_name.")  # and no name in it
    assert all(release in str(error.value.hint) for release in ("0.6.2", "0.4.2"))


def test_a_missing_name_is_named_with_its_module():
    with pytest.raises(UserError, match=r"megatron\.core\.optimizer\.Gone\b"), bridge.name_what_is_missing():
        raise ImportError(name="megatron.core.optimizer", name_from="Gone")


def test_a_missing_package_of_somebody_else_is_left_alone():
    with pytest.raises(ModuleNotFoundError, match="a_package_of_nobody"), bridge.name_what_is_missing():
        import a_package_of_nobody  # noqa: F401  # pyright: ignore


def test_a_missing_setting_is_named():
    @dataclass
    class Specs:
        packed_sequence_size: int

    assert versions.build(Specs, packed_sequence_size=8) == Specs(8)
    with pytest.raises(UserError, match=r"Specs\.packed_train_data_path\b"):
        versions.build(Specs, packed_sequence_size=8, packed_train_data_path="train")


@pytest.mark.parametrize(
    ("files", "line"),
    [
        (["bridge/data/builders/gpt_sft.py"], v06),
        (["bridge/data/builders/finetuning_dataset.py"], v04),
        ([], v06),
    ],
)
def test_the_line_is_told_by_its_dataset(monkeypatch, tmp_path, files, line):
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).touch()
    monkeypatch.setattr("nemotron.training.bridge.installed_line.find_spec", lambda _: ModuleSpecOf(tmp_path))
    assert bridge.installed.__wrapped__() is line


@pytest.mark.parametrize("spec", [None, SimpleNamespace(submodule_search_locations=None)])
def test_without_megatron_the_line_is_the_newest(monkeypatch, spec):
    """Also where a single file has its name; what is missing is named when it is imported."""
    monkeypatch.setattr("nemotron.training.bridge.installed_line.find_spec", lambda _: spec)
    assert bridge.installed.__wrapped__() is v06


class ModuleSpecOf:
    def __init__(self, place):
        self.submodule_search_locations = ["/no/such/place", str(place)]


@pytest.fixture
def recipes(monkeypatch):
    """A stand-in for the 0.4 line's module of recipes, empty."""
    name = "megatron.bridge.recipes.nemotronh.nemotron_3_super"
    return vars(put_modules(monkeypatch, {name: {}})[name])


@pytest.mark.parametrize("scheme", [None, "lora"])
def test_the_recipe_of_0_4_reads_the_model_from_its_constant(recipes, scheme):
    recipes["NEMOTRON_3_SUPER_HF_MODEL_ID"] = "the hub's"
    recipes["nemotron_3_super_sft_config"] = lambda: ("sft", recipes["NEMOTRON_3_SUPER_HF_MODEL_ID"])
    recipes["nemotron_3_super_peft_config"] = lambda peft_scheme: (
        peft_scheme,
        recipes["NEMOTRON_3_SUPER_HF_MODEL_ID"],
    )
    assert v04.super_recipe("mine", scheme) == (scheme or "sft", "mine")
    assert recipes["NEMOTRON_3_SUPER_HF_MODEL_ID"] == "the hub's"


@pytest.mark.parametrize("scheme", [None, "lora"])
def test_the_recipe_of_super_v3_takes_keyword_arguments(recipes, scheme):
    recipes["nemotron_3_super_finetune_config"] = lambda **arguments: arguments
    assert v04.super_recipe("mine", scheme) == {"packed_sequence": True, "peft": scheme}


def test_a_release_without_either_recipe_is_told_what_is_missing(recipes):
    with pytest.raises(UserError, match=r"megatron\.bridge\.recipes\..*\.nemotron_3_super_sft_config\b"):
        v04.super_recipe("mine", None)


def layout(**sizes):
    one = dict.fromkeys(("tensor_model", "context", "expert_model", "expert_tensor"), 1)
    parallel = {f"{name}_parallel_size": size for name, size in {**one, **sizes}.items()}
    return SimpleNamespace(num_moe_experts=8, moe_aux_loss_coeff=0.01, **parallel)


def test_0_4_refuses_experts_whose_gradients_it_would_not_add_up():
    refused = layout(tensor_model=2)
    with pytest.raises(UserError) as error:
        v04.fit_layout(refused)
    assert "model.expert_model_parallel_size=2" in str(error.value.hint)
    v06.fit_layout(refused)
    for fine in (layout(), layout(tensor_model=2, expert_model=2), layout(tensor_model=2, expert_tensor=2)):
        v04.fit_layout(fine)
    dense = layout(tensor_model=2)
    dense.num_moe_experts = None
    v04.fit_layout(dense)
    unset = layout(tensor_model=2)
    unset.expert_tensor_parallel_size = None  # as many as for the other layers
    v04.fit_layout(unset)


def test_0_4_is_given_the_auxiliary_loss_times_the_ranks_that_share_a_sequence():
    """They each weigh it by their own tokens."""
    model = layout(tensor_model=2, context=4, expert_model=2)
    v04.fit_layout(model)
    assert model.moe_aux_loss_coeff == pytest.approx(0.08)
    several = layout(tensor_model=2, expert_model=2)
    several.moe_aux_loss_coeff = [0.01, 0.0]
    v04.fit_layout(several)
    assert several.moe_aux_loss_coeff == [0.02, 0.0]


def test_0_4_has_no_evaluation_batch_of_its_own():
    with pytest.raises(UserError, match="eval_global_batch_size"):
        v04.evaluation(packs=9, ranks=1, global_batch_size=4, largest=2, asked=None)


@pytest.mark.parametrize(
    ("packs", "asked", "expected"),
    [(9, None, (4, 3)), (8, None, (4, 2)), (9, 2, (4, 2)), (3, 5, (4, 1)), (0, 5, (0, 0))],
)
def test_0_4_evaluates_training_batches_until_the_split_is_read(packs, asked, expected):
    assert v04.evaluation(packs, ranks=2, global_batch_size=4, largest=None, asked=asked) == expected


def test_0_4_refuses_a_checkpoint_of_a_later_line(tmp_path):
    newest = write_checkpoint(tmp_path, 7)
    with pytest.raises(UserError, match="iter_0000007"):
        v04.check_loadable(newest)
    v06.check_loadable(newest)
    shutil.copy(newest / "train_state.pt", newest / "common.pt")
    v04.check_loadable(newest)
    v04.check_loadable(tmp_path / "release")  # of Megatron-LM, without either


def test_0_4_does_not_start_from_a_hugging_face_folder(tmp_path):
    (tmp_path / "config.json").touch()
    with pytest.raises(UserError, match=str(tmp_path)) as error:
        v04.check_loadable(tmp_path)
    assert f"nemotron super3 model import {tmp_path}" in str(error.value.hint)


def test_the_boundaries_of_a_pack_are_those_in_memory():
    of_0_4 = {"cu_seqlens": torch.tensor([[0, 3, 8, -1, -1]]), "cu_seqlens_argmin": torch.tensor([[3]])}
    assert v04.pack_boundaries(of_0_4).tolist() == [0, 3, 8]
    of_0_6 = {"cu_seqlens_q": torch.tensor([[0, 3, 7]])}
    assert v06.pack_boundaries(of_0_6).tolist() == [0, 3, 7]
    assert v06.pack_boundaries({**of_0_6, "cu_seqlens_q_padded": torch.tensor([[0, 4, 8]])}).tolist() == [0, 4, 8]


class Packs(list):
    """Packs as a dataset of Megatron-Bridge has them; a negative row is one without a loss mask."""

    collate_fn = staticmethod(list)

    def __getitem__(self, row):
        return super().__getitem__(row) if row >= 0 else "empty"


def rows_of(packs, rows, seed, batch=4):
    order = EpochOrder(Packs(range(packs)), rows, batch, seed)
    return [order[row] for row in range(len(order))]


@given(packs=st.integers(4, 30), seed=st.integers(0, 2**30))
def test_an_epoch_has_every_pack_that_fills_a_batch_once(packs, seed):
    per_epoch = packs // 4 * 4
    rows = rows_of(packs, 3 * per_epoch, seed)
    epochs = [rows[start : start + per_epoch] for start in range(0, len(rows), per_epoch)]
    assert all(len(set(epoch)) == per_epoch for epoch in epochs)


def test_epochs_differ_and_follow_from_the_seed_whatever_the_length_of_the_run():
    short, long = (rows_of(20, rows, seed=1) for rows in (20, 60))
    assert long[:20] == short
    assert long[20:40] != short
    assert rows_of(20, 20, seed=2) != short


def test_rows_may_be_read_in_any_order_as_after_resuming():
    order = EpochOrder(Packs(range(10)), 24, 4, seed=1)
    forwards = [order[row] for row in range(24)]
    assert [order[row] for row in reversed(range(24))] == forwards[::-1]


def test_an_evaluation_is_filled_up_with_packs_that_count_nowhere():
    assert [FilledUp(Packs("abc"), 4)[row] for row in range(4)] == ["a", "b", "c", "empty"]
    assert len(FilledUp(Packs("abc"), 2)) == 2


def test_a_failed_import_that_names_nothing_is_left_alone():
    error = ImportError("a shared library is gone")
    with pytest.raises(ImportError, match="shared library") as caught, bridge.name_what_is_missing():
        raise error
    assert caught.value is error
