"""What Megatron-Bridge logs to: our W&B run, and an experiment of MLflow."""

from types import SimpleNamespace

import pytest
from tests.stand_ins import put_modules

from nemotron.errors import UserError
from nemotron.training.reporting.trackers import log_curves_to, open_mlflow


@pytest.mark.megatron
@pytest.mark.usefixtures("backend")
def test_megatron_bridge_logs_to_our_run_and_opens_none(monkeypatch):
    from megatron.bridge.training.state import GlobalState
    from megatron.bridge.training.utils import wandb_utils

    before = vars(GlobalState)["wandb_logger"], wandb_utils.on_save_checkpoint_success
    monkeypatch.setattr("wandb.init", lambda **options: pytest.fail("a run of Megatron-Bridge's own"))
    curves = SimpleNamespace()
    for run, expected in ((SimpleNamespace(curves=lambda: curves), curves), (None, None)):
        with log_curves_to(run):  # pyright: ignore[reportArgumentType]
            state = GlobalState()
            assert state.wandb_logger is expected
            assert wandb_utils.on_save_checkpoint_success("ck/iter_1", "ck", 1, state.wandb_logger) is None
    assert (vars(GlobalState)["wandb_logger"], wandb_utils.on_save_checkpoint_success) == before


@pytest.mark.parametrize("curves", ["our curves", None])
def test_the_curves_of_megatron_bridge_are_ours_inside_the_block(monkeypatch, curves):
    class State:
        wandb_logger = "of Megatron-Bridge"

    utils = {"on_save_checkpoint_success": (1).__add__, "on_load_checkpoint_success": (2).__add__}
    module = "megatron.bridge.training.utils.wandb_utils"
    modules = put_modules(monkeypatch, {"megatron.bridge.training.state": {"GlobalState": State}, module: utils})
    functions = vars(modules[module])
    run = curves and SimpleNamespace(curves=lambda: curves)
    with log_curves_to(run):  # pyright: ignore[reportArgumentType]
        assert State().wandb_logger == curves
        assert [functions[name](1) for name in utils] == [None, None]
    assert State().wandb_logger == "of Megatron-Bridge"
    assert [functions[name](1) for name in utils] == [2, 3]


@pytest.fixture
def mlflow(monkeypatch):
    """MLflow, as far as it is asked; the list has what it is told."""
    calls = []

    def set_experiment(name):
        calls.append(name)
        if name == "broken":
            raise OSError("no such store.\nTraceback")

    contents = {"set_experiment": set_experiment, "set_tracking_uri": calls.append, "get_tracking_uri": lambda: "here"}
    put_modules(monkeypatch, {"mlflow": contents})
    for name, value in {"RANK": "3", "WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    return calls


def logs(experiment, uri=None):
    return SimpleNamespace(mlflow_experiment=experiment, mlflow_tracking_uri=uri)


def test_an_experiment_is_opened_where_it_will_be_logged_to(mlflow, monkeypatch):
    open_mlflow(logs("chat"))
    open_mlflow(logs("chat", "http://store"))
    open_mlflow(logs(None))
    monkeypatch.setenv("RANK", "0")
    open_mlflow(logs("chat"))
    assert mlflow == ["chat", "http://store", "chat"]


def test_an_experiment_that_cannot_be_opened_is_said_in_a_sentence(mlflow):
    with pytest.raises(UserError, match=r"logger\.mlflow_experiment is broken, .* at here: no such store\. "):
        open_mlflow(logs("broken"))
