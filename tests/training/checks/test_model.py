"""A model that cannot be described, and checkpoints of another one, are refused by what differs."""

from types import SimpleNamespace

import pytest

from nemotron.training.checks.model import check_model_folder, check_model_is_here, check_same_model


def test_a_model_folder_without_config_is_refused_and_an_id_left_to_the_hub(tmp_path):
    for elsewhere in ("someone/model", "/lustre/model"):
        assert [*check_model_folder(elsewhere)] == []
    [problem] = check_model_folder(str(tmp_path))
    assert "recipe.hf_model" in problem.message
    assert "config.json" in problem.message


@pytest.mark.parametrize("content", ["{", "[]", "\xff"])
def test_a_config_that_cannot_be_read_is_refused_without_a_traceback(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content.encode("latin-1"))
    [problem] = check_model_folder(str(tmp_path))
    assert f"recipe.hf_model is {tmp_path}" in problem.message


def test_only_the_machine_that_trains_needs_the_folder():
    [problem] = check_model_is_here("/lustre/model")
    assert "recipe.hf_model is /lustre/model" in problem.message
    assert [*check_model_is_here("someone/model")] == []


@pytest.fixture
def checkpoint(tmp_path):
    (tmp_path / "run_config.yaml").write_text(
        "model: {hidden_size: 128, hybrid_layer_pattern: 'ME|M*/*E', vocab_size: 512}\n"
    )
    return tmp_path


def model(**changed):
    return SimpleNamespace(**{"hidden_size": 128, "hybrid_layer_pattern": "MEM*", "vocab_size": 512, **changed})


def test_pipeline_stages_and_mtp_layers_do_not_make_another_model(checkpoint):
    assert [*check_same_model(model(), checkpoint)] == []


@pytest.mark.parametrize("changed", [{"hidden_size": 256}, {"hybrid_layer_pattern": "MEM*E"}, {"vocab_size": 1024}])
def test_another_model_is_refused_by_what_differs(checkpoint, changed):
    [(name, ours)] = changed.items()
    [problem] = check_same_model(model(**changed), checkpoint)
    assert f"{name} is {getattr(model(), name)}" in problem.message
    assert f"{ours} here" in problem.message
