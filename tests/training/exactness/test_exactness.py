"""One training step of each parallel layout against the formulas: docs/explanation/exactness.md has the figures."""

from statistics import median

import pytest
from tests.training.exactness.compare import apart, measure, read, read_ranks
from tests.training.exactness.launch import run_in_new_process
from tests.training.exactness.layouts import CONTROL, LAYOUTS
from tests.training.exactness.rank import AUX_COEFFICIENT

from nemotron.config import load_config
from nemotron.training.config import SftConfig
from nemotron.training.parallelism.divisibility import parallel_sizes
from nemotron.training.parallelism.model_shape import shape_in
from nemotron.training.parallelism.rank_parameters import Layout as Sizes
from nemotron.training.parallelism.rank_parameters import rank_parameters, stage_layers

pytestmark = pytest.mark.megatron

# Everything trains in float32, whose rounding is about 6e-8 for a sum and some 1e-6 for a gradient of this model.
LOSS = 1e-6
TYPICAL_GRADIENT = 1e-5
ANY_GRADIENT = 3e-4
NORM = 5e-5


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the ranks of all layouts recorded."""
    folder = tmp_path_factory.mktemp("exactness")
    run_in_new_process([*LAYOUTS, CONTROL], folder)
    return folder


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_losses_and_gradients_are_those_of_the_formulas(layout, folder, reference):
    difference = measure(layout, folder, reference)
    assert difference.losses < LOSS
    assert difference.norm < NORM
    assert difference.replicas == 0  # gloo adds in one order, whichever rank looks
    for stage, gradients in difference.gradients.items():
        assert median(gradients.values()) < TYPICAL_GRADIENT, stage
        assert difference.worst(stage)[0] < ANY_GRADIENT, difference.worst(stage)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_each_rank_holds_the_parameters_that_the_plan_counts(layout, folder):
    """To the parameter, of every rank: Megatron's own shards against parallelism/rank_parameters.py."""
    config = load_config("tiny", [*layout.overrides], schema=SftConfig).config
    sizes = parallel_sizes(config)
    shape, divided = shape_in(config), Sizes(layout.ranks, **sizes)
    stages = stage_layers(shape, divided.pipeline, config.model.get("hybrid_layer_pattern"))
    for rank in range(layout.ranks):
        # Pipeline stages are the outermost of Megatron's orders of ranks (tp-cp-ep-dp-pp).
        stage = rank // (layout.ranks // divided.pipeline)
        is_last = stage == len(stages) - 1
        counted = rank_parameters(shape, divided, stages[stage], first=stage == 0, last=is_last)
        held = read_ranks(layout, folder)[rank]["parameters"]
        assert counted.dense + counted.experts == held["dense"] + held["experts"], (rank, stage)
        if divided.expert > 1:  # with all experts on every rank Megatron marks none of them
            assert counted.experts == held["experts"], (rank, stage)


def test_the_two_stages_train_different_objectives_with_one_mtp_and_auxiliary_loss(folder, reference):
    shapes = read(CONTROL, folder)["token"].shapes
    truth = reference.truth("8", shapes)
    between = apart(truth.gradients["token"], truth.gradients["sample"])
    assert max(between.values()) > 0.1
    # Only the main loss differs, and the MTP layer is not part of it.
    assert max(difference for name, difference in between.items() if name.startswith("mtp.")) < 1e-12


def test_sequences_and_conversations_are_different_samples(folder, reference):
    shapes = read(CONTROL, folder)["token"].shapes
    for batch in ("8", "half"):
        truth = reference.truth(batch, shapes)
        assert max(apart(truth.gradients["sample"], truth.gradients["conversation"]).values()) > 100 * ANY_GRADIENT


def test_a_hundredth_more_of_mtp_or_of_the_auxiliary_loss_would_be_noticed(folder, reference):
    shapes = read(CONTROL, folder)["token"].shapes
    true = reference.truth("half", shapes).gradients["token"]
    more_mtp = reference.solve("half", shapes, mtp_scale=0.303).gradients["token"]
    more_aux = reference.solve("half", shapes, aux_coefficient=1.01 * AUX_COEFFICIENT).gradients["token"]
    assert max(apart(more_mtp, true).values()) > 10 * ANY_GRADIENT
    assert max(apart(more_aux, true).values()) > 10 * ANY_GRADIENT


def test_no_expert_choice_is_so_close_that_rounding_decides_it(folder, reference):
    shapes = read(CONTROL, folder)["token"].shapes
    for batch in sorted({layout.batch for layout in LAYOUTS}):
        assert reference.truth(batch, shapes).margin > 5e-6


def test_the_stock_step_trains_mtp_on_prompts_and_padding(folder, reference):
    """The fault that our step is for, and proof that the comparison finds such faults."""
    gradients = measure(CONTROL, folder, reference).gradients["token"]
    assert min(difference for name, difference in gradients.items() if name.startswith("mtp.")) > 0.1
