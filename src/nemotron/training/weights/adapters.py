"""A checkpoint of adapters as the whole model."""

from pathlib import Path
from typing import Any

from nemotron.training import bridge, torch_layers
from nemotron.training.checkpoints.reader import base_model_of, run_config


def load_whole_model(iteration_dir: Path) -> list[Any]:
    """Load the model of a checkpoint on the torch layers.

    As Megatron's list of chunks (one).

    Of a checkpoint of adapters, the model that they were trained on is loaded, and the adapters are put on it. They
    stay next to its weights: Megatron-Bridge merges them when it converts (`merge_adapter_weights`).

    Call it inside `cpu.backend()` and `single_process_group()`.

    Raises:
        UserError: the model that the adapters belong to is gone.
    """
    base = base_model_of(iteration_dir)
    if base is None:
        return _load(iteration_dir)
    from megatron.bridge.utils.instantiate_utils import instantiate

    model = _load(base)
    peft: Any = instantiate(run_config(iteration_dir)["peft"])
    model = peft(model, training=False)
    peft.set_params_to_save(model)
    bridge.installed().load_adapters(model, iteration_dir, peft)
    return model


def _load(iteration_dir: Path) -> list[Any]:
    from megatron.bridge.training.model_load_save import load_megatron_model

    bridge.installed().check_loadable(iteration_dir)
    # Meant for parallel sizes, the overrides accept any field of the model's config.
    overrides: Any = torch_layers.provider_fields()
    model: Any = load_megatron_model(
        str(iteration_dir), use_cpu_init=True, skip_temp_dist_context=True, mp_overrides=overrides
    )
    return model
