"""float32, where a release has the fields for it, and no MTP."""

from types import SimpleNamespace

import torch

from nemotron.training.bridge.provider import leave_out_mtp, set_fields, train_in_float32


def test_everything_is_float32_without_mixed_precision():
    model = ("bf16", "fp16", "params_dtype", "pipeline_dtype", "autocast_dtype", "first_last_layers_bf16")
    state = ("main_params_dtype", "main_grads_dtype", "exp_avg_dtype", "exp_avg_sq_dtype")
    optimizer = ("bf16", "fp16", "params_dtype", "use_precision_aware_optimizer", *state)
    container = SimpleNamespace(
        mixed_precision="bf16_mixed",
        model=SimpleNamespace(**dict.fromkeys((*model, "keep_mtp_spec_in_bf16"), "recipe")),
        optimizer=SimpleNamespace(**dict.fromkeys(optimizer, "recipe")),
    )
    train_in_float32(container)
    assert container.mixed_precision is None
    for section in (container.model, container.optimizer):
        for name, value in vars(section).items():
            assert value == (torch.float32 if name.endswith("dtype") else False), name


def test_a_field_that_a_release_lacks_is_not_made_up():
    section = SimpleNamespace(there=1)
    set_fields(section, there=2, gone=3)
    assert vars(section) == {"there": 2}


def test_a_model_without_mtp_has_no_pattern_for_it_either():
    names = ("mtp_num_layers", "mtp_hybrid_override_pattern", "mtp_use_repeated_layer", "keep_mtp_spec_in_bf16")
    provider = SimpleNamespace(**dict.fromkeys((*names, "num_layers"), "recipe"))
    leave_out_mtp(provider)
    assert vars(provider) == {**dict(zip(names, (None, None, False, False), strict=True)), "num_layers": "recipe"}
