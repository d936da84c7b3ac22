"""A model that cannot be described or started from, or that data or a checkpoint does not fit, is refused by name."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.training.checkpoints.made_up import MAIN, MTP, write_hf_folder

from nemotron.errors import Problem
from nemotron.training.checkpoints.checkpoint import Checkpoint
from nemotron.training.checkpoints.initial_weights import StartingPoint, find_start
from nemotron.training.checkpoints.run_folder import find_run_folder
from nemotron.training.checks.machine import check_model_is_here, check_start_is_here
from nemotron.training.checks.model import (
    LARGEST_PADDING,
    check_built_model,
    check_model_folder,
    check_same_model,
    check_start,
    check_vocabulary,
    check_weights,
)
from nemotron.training.config import RecipeConfig, RunConfig, SftConfig
from nemotron.training.parallelism.model_shape import find_model
from nemotron.training.prepared_data import DataTokenizer, PreparedData


def start(path, mtp: int | None = 2, **run):
    checkpoint = {} if path is None else {"pretrained_checkpoint": str(path)}
    return SftConfig(
        run=RunConfig(**run), recipe=RecipeConfig("m"), checkpoint=checkpoint, model={"mtp_num_layers": mtp}
    )


def check(settings):
    return [*check_start(settings, find_start(settings))]


def test_a_whole_model_passes_and_one_without_mtp_where_it_is_not_wanted(tmp_path):
    assert [*check_weights(write_hf_folder(tmp_path, [*MAIN, *MTP]), mtp=True, way_out="")] == []
    assert [*check_weights(write_hf_folder(tmp_path, MAIN), mtp=False, way_out="")] == []


def test_missing_layers_are_named(tmp_path):
    [problem] = check_weights(write_hf_folder(tmp_path, [*MAIN[:1], *MTP]), mtp=True, way_out="")
    assert "layers.1.*" in problem.message
    [problem] = check_weights(write_hf_folder(tmp_path, [*MAIN, MTP[0]]), mtp=True, way_out="")
    assert "mtp.layers.1.*" in problem.message
    main, mtp = check_weights(write_hf_folder(tmp_path, MAIN[:1]), mtp=True, way_out="")
    assert "layers.1.*" in main.message
    assert "mtp.layers.0.*, mtp.layers.1.*" in mtp.message


def test_what_cannot_be_read_is_a_problem_with_its_path(tmp_path):
    config = write_hf_folder(tmp_path, [*MAIN, *MTP]) / "config.json"
    config.write_text("{")
    [broken] = check_weights(tmp_path, mtp=True, way_out="")
    assert f"{config} cannot be read" in broken.message
    write_hf_folder(tmp_path, [*MAIN, *MTP])
    for file in tmp_path.glob("*.safetensors"):
        file.unlink()
    [empty] = check_weights(tmp_path, mtp=True, way_out="")
    assert f"{tmp_path} has a config.json but no *.safetensors" in empty.message
    assert isinstance(empty, Problem)


@pytest.mark.parametrize(
    "config", [[], {"num_hidden_layers": "x"}, {"hybrid_override_pattern": 5}, {"mtp_layers_block_type": {"a": "b"}}]
)
def test_a_config_that_cannot_say_which_layers_there_are_is_refused(tmp_path, config):
    write_hf_folder(tmp_path, [*MAIN, *MTP])
    (tmp_path / "config.json").write_text(json.dumps(config))
    [problem] = check_weights(tmp_path, mtp=True, way_out="")
    assert "config.json cannot be read" in problem.message


def test_layers_are_counted_where_a_released_config_lists_them_as_words(tmp_path):
    path = write_hf_folder(tmp_path, [*MAIN, *MTP])
    released = {"layers_block_type": ["mamba", "moe", "moe"], "mtp_layers_block_type": ["attention", "moe", "moe"]}
    (path / "config.json").write_text(json.dumps({**released, "num_nextn_predict_layers": 1}))
    main, mtp = check_weights(path, mtp=True, way_out="")
    assert "weights layers.2.*, " in main.message
    assert "weights mtp.layers.2.*: " in mtp.message


def test_layers_are_counted_without_the_marks_of_stages_and_without_mtp_or_by_their_number(tmp_path):
    path = write_hf_folder(tmp_path, [*MAIN, *MTP])
    for described in ({"hybrid_override_pattern": "M|E/*E/*E"}, {"num_hidden_layers": 2}, {}):
        (path / "config.json").write_text(json.dumps(described))
        assert [*check_weights(path, mtp=True, way_out="")] == []
    (path / "config.json").write_text('{"num_hidden_layers": 3}')
    [problem] = check_weights(path, mtp=True, way_out="")
    assert "layers.2.*" in problem.message


def test_training_does_not_start_from_a_folder_without_mtp_unless_asked_to(tmp_path):
    path = write_hf_folder(tmp_path, MAIN)
    [problem] = check(start(path))
    assert "mtp.layers.0.*, mtp.layers.1.*" in problem.message
    assert "model.mtp_num_layers=null" in problem.hint
    [unset] = check(SftConfig(recipe=RecipeConfig("m"), checkpoint={"pretrained_checkpoint": str(path)}))
    assert unset == problem  # the recipe has two such layers
    assert check(start(path, mtp=None)) == []
    assert "(Hugging Face folder)" in find_start(start(path, mtp=None)).description


@pytest.mark.parametrize(
    ("saved", "named"),
    [
        ("peft: {dim: 8}", "adapters"),
        ("model: {hidden_size: 8, mtp_num_layers: null}", "multi-token prediction"),
    ],
)
def test_a_checkpoint_that_is_not_the_whole_model_is_no_start(tmp_path, saved, named):
    (tmp_path / "run_config.yaml").write_text(saved)
    [problem] = check(start(tmp_path))
    assert f"checkpoint.pretrained_checkpoint is {tmp_path}" in problem.message
    assert named in problem.message


def test_a_folder_that_is_no_checkpoint_is_refused(tmp_path):
    [problem] = check(start(tmp_path))
    assert f"{problem.message} {problem.hint}" == str(find_start(start(tmp_path)).unreadable)
    assert str(tmp_path) in problem.message


def test_the_run_that_is_continued_is_a_model_to_start_from():
    assert check(SftConfig(recipe=RecipeConfig("m"), checkpoint={"load": "/another/run"})) == []


def test_something_must_be_named(tmp_path):
    [problem] = check(start(None))
    assert "checkpoint.pretrained_checkpoint" in problem.hint
    assert "run.model" in problem.hint


def test_what_another_machine_may_have_is_only_refused_where_the_run_trains(tmp_path):
    for settings, named in (
        (start("/lustre/model"), "/lustre/model"),
        (start(None, model="ModelArtifact-sft", artifacts=str(tmp_path)), "ModelArtifact-sft"),
    ):
        found = find_start(settings)
        assert "not on this machine" in found.description
        assert check(settings) == []
        [problem] = check_start_is_here(found, find_run_folder(settings))
        assert named in problem.message
        assert problem.hint


def check_folder(hf_model):
    return [*check_model_folder(hf_model, find_model(SftConfig(recipe=RecipeConfig(hf_model))))]


def test_a_model_folder_without_config_is_refused_and_an_id_left_to_the_hub(tmp_path):
    for elsewhere in ("someone/model", "/lustre/model"):
        assert check_folder(elsewhere) == []
    [problem] = check_folder(str(tmp_path))
    assert "recipe.hf_model" in problem.message
    assert "config.json" in problem.message


@pytest.mark.parametrize("content", ["{", "[]", "\xff"])
def test_a_config_that_cannot_be_read_is_refused_without_a_traceback(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content.encode("latin-1"))
    [problem] = check_folder(str(tmp_path))
    assert f"recipe.hf_model is {tmp_path}" in problem.message


def test_only_the_machine_that_trains_needs_the_folder():
    [problem] = check_model_is_here("/lustre/model")
    assert "recipe.hf_model is /lustre/model" in problem.message
    assert [*check_model_is_here("someone/model")] == []


def made_with(tokenizer=None):
    return PreparedData("SFTDataArtifact-sft:v1", Path("/data/splits"), {"train": 8}, tokenizer=tokenizer)


@pytest.mark.parametrize("model_vocab_size", [131072, 131584, 131072 + LARGEST_PADDING - 1])
def test_a_vocabulary_that_the_model_pads_is_the_models(model_vocab_size):
    assert [*check_vocabulary(made_with(DataTokenizer("some", vocab_size=131072)), model_vocab_size, "super")] == []


@pytest.mark.parametrize("model_vocab_size", [131071, 131072 + LARGEST_PADDING, 256000])
def test_another_vocabulary_is_refused_with_both_sizes(model_vocab_size):
    [problem] = check_vocabulary(
        made_with(DataTokenizer("some/tokenizer", vocab_size=131072)), model_vocab_size, "super"
    )
    for shown in ("some/tokenizer", "131,072", "super", f"{model_vocab_size:,}"):
        assert shown in problem.message


def test_data_that_does_not_record_its_vocabulary_is_taken_at_its_word():
    for unknown in (None, DataTokenizer("some")):
        assert [*check_vocabulary(made_with(unknown), 2048, "tiny")] == []


SAVED = {"model": {"hidden_size": 128, "hybrid_layer_pattern": "ME|M*/*E", "vocab_size": 512}}
CHECKPOINT = Checkpoint(Path("/checkpoints/iter_0000004"), SAVED)


def model(**changed):
    return SimpleNamespace(**{"hidden_size": 128, "hybrid_layer_pattern": "MEM*", "vocab_size": 512, **changed})


def test_pipeline_stages_and_mtp_layers_do_not_make_another_model():
    assert [*check_same_model(model(), CHECKPOINT)] == []


@pytest.mark.parametrize("changed", [{"hidden_size": 256}, {"hybrid_layer_pattern": "MEM*E"}, {"vocab_size": 1024}])
def test_another_model_is_refused_by_what_differs(changed):
    [(name, ours)] = changed.items()
    [problem] = check_same_model(model(**changed), CHECKPOINT)
    assert re.search(rf"\b{name}\b.*{re.escape(str(getattr(model(), name)))}", problem.message)
    assert str(ours) in problem.message


@pytest.mark.parametrize(
    "name",
    [
        *("hidden_size", "num_layers", "hybrid_layer_pattern", "num_attention_heads", "num_query_groups", "vocab_size"),
        *("ffn_hidden_size", "num_moe_experts", "moe_ffn_hidden_size", "moe_shared_expert_intermediate_size"),
        *("moe_latent_size", "mamba_num_heads", "mamba_head_dim", "mamba_state_dim", "mamba_num_groups"),
    ],
)
def test_whatever_decides_a_shape_has_to_be_the_same(name):
    saved = Checkpoint(Path("/checkpoints/iter_0000004"), {"model": {name: 7, "lr": 1}})
    [problem] = check_same_model(SimpleNamespace(**{name: 8, "lr": 2}), saved)
    assert f"its {name} is 7" in problem.message
    assert [*check_same_model(SimpleNamespace(**{name: 7}), saved)] == []
    assert [*check_same_model(SimpleNamespace(lr=2), saved)] == []  # a release without the field


def test_of_another_model_only_the_first_difference_is_named():
    """The others usually follow from it."""
    [problem] = check_same_model(model(vocab_size=1024, hidden_size=256), CHECKPOINT)
    assert "its hidden_size is 128" in problem.message


def test_both_checkpoints_have_to_fit_the_model():
    start = StartingPoint(CHECKPOINT.folder, "", megatron=CHECKPOINT)
    resumed: Any = SimpleNamespace(newest=Checkpoint(Path("/checkpoints/iter_0000008"), SAVED))
    found = [*check_built_model(model(hidden_size=256), "tiny", made_with(), start, resumed)]
    assert len(found) == 2
    for problem, checkpoint in zip(found, (CHECKPOINT, resumed.newest), strict=True):
        assert str(checkpoint.folder) in problem.message
    new: Any = SimpleNamespace(newest=None)
    assert [*check_built_model(model(hidden_size=256), "tiny", made_with(), StartingPoint(None, "random"), new)] == []


def test_the_model_as_built_has_the_vocabulary_of_the_data():
    start = StartingPoint(None, "random")
    run: Any = SimpleNamespace(newest=None)
    [problem] = check_built_model(model(), "tiny", made_with(DataTokenizer("some", vocab_size=2048)), start, run)
    assert "2,048" in problem.message
    assert "512" in problem.message
