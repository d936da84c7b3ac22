"""A checkpoint of another model is refused by what differs."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from nemotron.training.checkpoints.checkpoint import Checkpoint
from nemotron.training.checkpoints.initial_weights import StartingPoint
from nemotron.training.checks.built_model import check_built_model, check_same_model

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


def test_both_checkpoints_have_to_fit_the_model():
    start = StartingPoint(CHECKPOINT.folder, "", megatron=CHECKPOINT)
    resumed = SimpleNamespace(newest=Checkpoint(Path("/checkpoints/iter_0000008"), SAVED))
    found = [*check_built_model(model(hidden_size=256), start, resumed)]
    assert len(found) == 2
    for problem, checkpoint in zip(found, (CHECKPOINT, resumed.newest), strict=True):
        assert str(checkpoint.folder) in problem.message
    new = SimpleNamespace(newest=None)
    assert [*check_built_model(model(hidden_size=256), StartingPoint(None, "random"), new)] == []
