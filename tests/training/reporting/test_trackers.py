from types import SimpleNamespace

import pytest

pytestmark = [pytest.mark.megatron, pytest.mark.slow, pytest.mark.usefixtures("backend")]


def test_megatron_bridge_logs_to_our_run_and_opens_none(monkeypatch):
    from megatron.bridge.training.state import GlobalState
    from megatron.bridge.training.utils import wandb_utils

    from nemotron.training.reporting.trackers import log_curves_to

    before = vars(GlobalState)["wandb_logger"], wandb_utils.on_save_checkpoint_success
    monkeypatch.setattr("wandb.init", lambda **options: pytest.fail("a run of Megatron-Bridge's own"))
    curves = SimpleNamespace()
    for run, expected in ((SimpleNamespace(curves=lambda: curves), curves), (None, None)):
        with log_curves_to(run):  # pyright: ignore[reportArgumentType]
            state = GlobalState()
            assert state.wandb_logger is expected
            assert wandb_utils.on_save_checkpoint_success("ck/iter_1", "ck", 1, state.wandb_logger) is None
    assert (vars(GlobalState)["wandb_logger"], wandb_utils.on_save_checkpoint_success) == before
