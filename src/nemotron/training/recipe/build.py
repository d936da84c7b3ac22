"""Build Megatron-Bridge's `ConfigContainer` from a config.

Megatron-Bridge's own recipe comes first, then every section of the YAML over it (sections.py). The few values that
depend on the data or on the number of ranks are filled in last (fill_in.py).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nemotron.errors import UserError, refuse
from nemotron.training import bridge
from nemotron.training.checkpoints.run_folder import RunFolder
from nemotron.training.checks.model import check_built_model
from nemotron.training.config import SftConfig
from nemotron.training.plan import Plan
from nemotron.training.prepared_data import PreparedData
from nemotron.training.recipe.diff import Recipe, what_runs
from nemotron.training.recipe.fill_in import fill_in
from nemotron.training.recipe.masked_config import keep_secrets_out
from nemotron.training.recipe.sections import apply_sections

if TYPE_CHECKING:
    from megatron.bridge.training.config import ConfigContainer


def build_recipe(
    config: SftConfig,
    plan: Plan,
    data: PreparedData,
    run: RunFolder,
    origins: Mapping[str, str],
    pretrained_checkpoint: Path | None,
) -> Recipe:
    """Build the config of a run.

    Args:
        config: The YAML, typed.
        plan: What the run will do.
        data: The packs.
        run: Its folders.
        origins: Dotted key -> where it was written, for messages.
        pretrained_checkpoint: The checkpoint to start from; None leaves it to `checkpoint.load`.

    Raises:
        UserError: Megatron-Bridge does not have a key, a value does not fit, or settings exclude each other.
    """
    container = _super_recipe(config.recipe.hf_model, config.peft.scheme if config.peft else None)
    original = what_runs(container)
    apply_sections(container, config, origins)
    model: Any = container.model  # a HybridModelProvider; the container's annotation covers all model families
    bridge.installed().fit_layout(model)
    if config.peft is not None:
        bridge.installed().fit_adapters(model, config.peft.adapts_routed_experts)
    start = plan.start
    if start.checkpoint is not None and start.is_hf:
        bridge.installed().check_loadable(start.checkpoint)
    for checkpoint in (start.megatron, run.base, run.newest):
        if checkpoint is not None:
            bridge.installed().check_loadable(checkpoint.folder)
    refuse(check_built_model(model, config.recipe.hf_model, data, start, run))
    fill_in(container, config, plan, data, run, pretrained_checkpoint)
    keep_secrets_out(container, config.env_vars)
    return Recipe(container, original)


def _super_recipe(hf_model: str, peft_scheme: str | None) -> "ConfigContainer":
    try:
        return bridge.installed().super_recipe(hf_model, peft_scheme)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"No model config could be read for recipe.hf_model={hf_model!r}: {reason}",
            "Use a folder with a config.json, or a Hugging Face id that this machine can reach (HF_TOKEN, if gated).",
        ) from error
