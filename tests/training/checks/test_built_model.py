"""A checkpoint of another model is refused by what differs."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from nemotron.training.checks.built_model import check_built_model, check_same_model
from nemotron.training.prepared_data import DataTokenizer, PreparedData


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


def test_the_data_and_both_checkpoints_have_to_fit_the_model(checkpoint):
    data = PreparedData("mine", Path("/data"), {"train": 8}, tokenizer=DataTokenizer("tiny", vocab_size=2048))
    other = model(hidden_size=256, vocab_size=512)
    found = [*check_built_model(other, data, "tiny", checkpoint, checkpoint)]
    assert ["2,048" in found[0].message, "hidden_size" in found[1].message, found[1] == found[2]] == [True] * 3
    assert [*check_built_model(model(), data, "tiny", None, None)] == found[:1]
