"""What the torch layers change in a Megatron-Bridge config; tests/training/cpu has what a CPU changes besides."""

from types import SimpleNamespace

import pytest

from nemotron.training.torch_layers import settings as torch_settings


@pytest.mark.parametrize(
    ("experts", "dispatcher", "expected"),
    [(8, "flex", "alltoall"), (8, "allgather", "allgather"), (None, "flex", "flex"), (0, "flex", "flex")],
)
def test_experts_are_not_sent_by_deepep(monkeypatch, experts, dispatcher, expected):
    monkeypatch.setattr(torch_settings, "use_torch_layers", lambda model: None)
    monkeypatch.setattr(torch_settings, "FLOAT32_STATE", {"use_precision_aware_optimizer": False})
    config = SimpleNamespace(
        model=SimpleNamespace(num_moe_experts=experts, moe_token_dispatcher_type=dispatcher),
        optimizer=SimpleNamespace(use_precision_aware_optimizer=True),
        rng=SimpleNamespace(te_rng_tracker=True),
        checkpoint=SimpleNamespace(async_save=True),
        comm_overlap="recipe",
    )
    torch_settings.apply(config)
    assert config.model.moe_token_dispatcher_type == expected
    assert config.optimizer.use_precision_aware_optimizer is False
    assert (config.comm_overlap, config.rng.te_rng_tracker, config.checkpoint.async_save) == (None, False, False)
