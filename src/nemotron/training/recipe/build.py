"""YAML -> Megatron-Bridge `ConfigContainer`.

Megatron-Bridge's own recipe comes first, then every section of the YAML over it, so that no default of the recipe wins
over a documented value. The few values that depend on the data or on the number of ranks are filled in last.
"""

import logging
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nemotron.config import holds_secret, is_secret
from nemotron.errors import UserError, refuse
from nemotron.secrets import mask_text
from nemotron.training import bridge
from nemotron.training.bridge.precision import train_in_float32
from nemotron.training.checkpoints.run_folder import RunFolder
from nemotron.training.checks.built_model import check_built_model
from nemotron.training.checks.data import check_vocabulary
from nemotron.training.checks.settings import adapts_routed_experts
from nemotron.training.config import SftConfig
from nemotron.training.plan import Plan, decay_iterations
from nemotron.training.prepared_data import PreparedData
from nemotron.training.recipe.assign import assign, check_keys, field_types
from nemotron.training.recipe.diff import Change, differences, what_runs
from nemotron.training.recipe.masked_config import mask_what_is_written
from nemotron.training.weights.megatron_model import leave_out_mtp

if TYPE_CHECKING:
    from megatron.bridge.training.config import ConfigContainer

logger = logging.getLogger(__name__)

# Handled here rather than copied: they depend on the data, on the number of ranks or on each other.
_OWN_KEYS = {
    "train": {"train_iters", "train_samples", "num_epochs"},
    "scheduler": {
        *("lr_warmup_iters", "lr_warmup_samples", "lr_warmup_fraction", "lr_decay_iters", "lr_decay_samples"),
        *("lr_wsd_decay_iters", "lr_wsd_decay_samples"),
    },
    "validation": {"eval_iters", "eval_global_batch_size"},
    "checkpoint": {"pretrained_checkpoint", "save", "load"},
    "logger": {"tensorboard_dir", "wandb_project", "wandb_entity", "wandb_exp_name", "wandb_save_dir"},
    "tokenizer": {"tokenizer_model"},
}


@dataclass(frozen=True)
class Recipe:
    """A config ready for `finetune()`."""

    container: "ConfigContainer"
    original: dict[str, Any]
    """Megatron-Bridge's own recipe, key by key."""

    def changes(self) -> list[Change]:
        """List how what runs differs from the recipe, whoever set it.

        The YAML, the data, the backend.
        """
        return differences(self.original, what_runs(self.container))


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
        config: the YAML, typed.
        plan: what the run will do.
        data: the packs.
        run: its folders.
        origins: dotted key -> where it was written, for messages.
        pretrained_checkpoint: to start from, or None to leave it to `checkpoint.load`.

    Raises:
        UserError: a key that Megatron-Bridge does not have, a value that does not fit, or settings that exclude each
            other.
    """
    container = _super_recipe(config.recipe.hf_model, config.peft.scheme if config.peft else None)
    original = what_runs(container)
    _apply_sections(container, config, origins)
    model: Any = container.model  # a HybridModelProvider; the container declares every family of models
    bridge.installed().fit_layout(model)
    if config.peft is not None:
        bridge.installed().fit_adapters(model, adapts_routed_experts(config.peft.target_modules))
    for checkpoint in (pretrained_checkpoint, run.newest and run.resume_from):
        if checkpoint is not None:
            bridge.installed().check_loadable(checkpoint)
    fits_data = check_vocabulary(data, model.vocab_size, config.recipe.hf_model)
    refuse([*fits_data, *check_built_model(model, plan.start, run)])
    if not model.mtp_num_layers:
        leave_out_mtp(model)
    container.dataset = _dataset(config, plan, data, model.context_parallel_size)
    _fill_in_length(container, config, plan)
    _fill_in_paths(container, config, plan, run, pretrained_checkpoint)
    _fill_in_validation(container, config, plan)
    model.seq_length = plan.pack_size
    # Both stages and MTP rely on gradients being divided once, by the supervised tokens of the global batch.
    model.calculate_per_token_loss = True
    container.ddp.average_in_collective = False
    if model.sequence_parallel and model.tensor_model_parallel_size == 1:
        # Megatron refuses the combination, though there is then nothing to divide.
        logger.info("model.sequence_parallel has no effect with tensor_model_parallel_size 1; it is left off.")
        model.sequence_parallel = False
    _set_environment(container, config.env_vars)
    mask_what_is_written(type(container))
    return Recipe(container, original)


def _set_environment(container: "ConfigContainer", variables: Mapping[str, Any]) -> None:
    """Set the variables of `env_vars`.

    Secret ones here, as Megatron-Bridge writes its config into checkpoints.
    """
    secret = {name: value for name, value in variables.items() if isinstance(value, str) and _is_secret(name, value)}
    for name, value in secret.items():
        os.environ.setdefault(name, value)
    bridge.installed().set_environment(container, {k: v for k, v in variables.items() if k not in secret})


def _is_secret(variable: str, value: str) -> bool:
    return is_secret(f"env_vars.{variable}") or holds_secret(value)


def _super_recipe(hf_model: str, peft_scheme: str | None) -> "ConfigContainer":
    try:
        return bridge.installed().super_recipe(hf_model, peft_scheme)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"No model config could be read for recipe.hf_model={hf_model!r}: {reason}",
            "Name a folder with a config.json, or a Hugging Face id that this machine can reach (HF_TOKEN, if gated).",
        ) from error


def _apply_sections(container: "ConfigContainer", config: SftConfig, origins: Mapping[str, str]) -> None:
    """Set every section that is copied as it stands.

    `mixed_precision` may be a name, `dataset` is only checked.
    """
    from megatron.bridge.training.comm_overlap import CommOverlapConfig
    from megatron.bridge.training.config import ProfilingConfig
    from megatron.bridge.training.mixed_precision import get_mixed_precision_config

    if isinstance(config.mixed_precision, str):
        try:
            container.mixed_precision = get_mixed_precision_config(config.mixed_precision)
        except ValueError as error:
            raise UserError(
                f"mixed_precision is {config.mixed_precision!r}: {error}", "Use bf16_mixed, or null for float32."
            ) from None
    elif config.mixed_precision is not None:
        if isinstance(container.mixed_precision, str):  # the recipe of the 0.4 line says it by name
            container.mixed_precision = get_mixed_precision_config(container.mixed_precision)
        assign(container.mixed_precision, "mixed_precision", config.mixed_precision, origins)
    optional = {"comm_overlap": lambda: CommOverlapConfig(tp_comm_overlap=False), "profiling": ProfilingConfig}
    for section, make in optional.items():
        values = getattr(config, section)
        if values is not None:
            if getattr(container, section) is None:
                setattr(container, section, make())
            assign(getattr(container, section), section, values, origins)
    if config.peft is not None:
        settings = {name: getattr(config.peft, name) for name in ("target_modules", "dim", "alpha", "dropout")}
        assign(container.peft, "peft", settings, origins)
    for section in (
        *("model", "train", "validation", "optimizer", "scheduler", "ddp", "dist"),
        *("checkpoint", "logger", "tokenizer", "rng", "rerun_state_machine"),
    ):
        own = _OWN_KEYS.get(section, set())
        target = getattr(container, section)
        values = getattr(config, section)
        assign(target, section, {k: v for k, v in values.items() if k not in own}, origins)
    line = bridge.installed()
    for key in config.dataset.keys() & line.FROM_DATA:
        raise UserError(f"dataset.{key} cannot be set: it follows from the data.", "Set run.data, and leave it out.")
    owner = line.dataset_config()
    known = (*field_types(owner), "seq_length", "pad_seq_to_mult")
    check_keys("dataset", config.dataset, known, owner.__name__, origins)
    if config.peft is not None:
        # The router's biases balance its experts, not by gradient but step by step. Adapters are saved without them: a
        # resumed run, and an export, would have others than were trained with.
        model: Any = container.model
        model.moe_router_bias_update_rate = 0.0
    if config.mixed_precision is None:
        train_in_float32(container)


def _dataset(config: SftConfig, plan: Plan, data: PreparedData, context_parallel_size: int) -> Any:
    options = {key: value for key, value in config.dataset.items() if key != "seq_length"}
    if context_parallel_size > 1:
        options.setdefault("pad_seq_to_mult", data.pad_to_multiple)  # checks/data.py compares the two
    train = data.folder("train")
    assert train is not None  # find_prepared_data refuses data without training packs
    by_conversation = config.loss.sample_unit == "conversation"
    packs = bridge.Packs(train, data.folder("valid"), plan.pack_size, options, conversation_targets=by_conversation)
    return bridge.installed().make_packed_dataset(packs, plan.global_batch_size)


def _fill_in_length(container: "ConfigContainer", config: SftConfig, plan: Plan) -> None:
    """Set iterations, warm-up and decay, in samples or in iterations.

    Megatron-Bridge does not allow a mix of the two.

    It counts a schedule in samples itself, as iterations times the batch.
    """
    samples, batch, given = config.train.get("train_samples"), plan.global_batch_size, config.scheduler
    scheduler: Any = container.scheduler
    container.train.train_samples = samples
    container.train.num_epochs = None
    container.train.train_iters = None if samples else plan.train_iters
    decay = given.get("max_steps") is None and decay_iterations(config)
    if not decay and plan.warmup_iters >= plan.train_iters:
        # The scheduler wants its decay to end after the warm-up; a constant schedule never decays.
        decay = plan.warmup_iters + 1
    final = given.get("lr_wsd_decay_iters") or math.ceil((given.get("lr_wsd_decay_samples") or 0) / batch) or None
    counted = {"lr_warmup": plan.warmup_iters, "lr_decay": decay or None, "lr_wsd_decay": final}
    for name, iterations in counted.items():
        unused = 0 if name == "lr_warmup" else None
        in_samples = given.get(f"{name}_samples") or (iterations and iterations * batch)
        setattr(scheduler, f"{name}_samples", in_samples if samples else unused)
        setattr(scheduler, f"{name}_iters", unused if samples else iterations)
    scheduler.lr_warmup_fraction = None


def _fill_in_paths(
    container: "ConfigContainer",
    config: SftConfig,
    plan: Plan,
    run: RunFolder,
    pretrained_checkpoint: Path | None,
) -> None:
    """Set checkpoints, logs and the tokenizer, where the YAML leaves them open."""
    output = run.output
    container.checkpoint.save = str(run.checkpoints)
    container.checkpoint.load = str(run.load_from)
    container.checkpoint.pretrained_checkpoint = None if pretrained_checkpoint is None else str(pretrained_checkpoint)
    logs = container.logger
    logs.tensorboard_dir = config.logger.get("tensorboard_dir") or str(output / "tb_logs")
    # W&B is on when a project is named, here or for everything (`[wandb]` of env.toml sets these variables).
    logs.wandb_project = config.logger.get("wandb_project") or os.environ.get("WANDB_PROJECT")
    logs.wandb_entity = config.logger.get("wandb_entity") or os.environ.get("WANDB_ENTITY")
    logs.wandb_exp_name = config.logger.get("wandb_exp_name") or output.name
    logs.wandb_save_dir = config.logger.get("wandb_save_dir") or str(output)
    if config.logger.get("mlflow_experiment"):
        logs.mlflow_run_name = config.logger.get("mlflow_run_name") or output.name
        if hasattr(logs, "mlflow_log_artifacts"):  # every checkpoint, copied; the 0.4 line has no switch
            logs.mlflow_log_artifacts = bool(config.logger.get("mlflow_log_artifacts"))
    if config.logger.get("comet_project"):
        logs.comet_experiment_name = config.logger.get("comet_experiment_name") or output.name
    for name in ("wandb_project", "wandb_entity", "wandb_exp_name"):  # which W&B shows
        setattr(logs, name, (value := getattr(logs, name)) and mask_text(value))
    assert plan.tokenizer is not None  # checks/data.py
    container.tokenizer.tokenizer_model = plan.tokenizer


def _fill_in_validation(container: "ConfigContainer", config: SftConfig, plan: Plan) -> None:
    """Let evaluation fit the valid split.

    Batches of at most the global batch, and the split at most once.
    """
    ranks = data_parallel_size(container.model)
    line = bridge.installed()
    asked, largest = (config.validation.get(key) for key in ("eval_iters", "eval_global_batch_size"))
    batch, iterations = line.evaluation(plan.valid_packs, ranks, plan.global_batch_size, largest, asked)
    if batch == 0:
        logger.warning("The valid split is empty: no validation.")
    line.set_evaluation(container, batch or ranks, iterations)


def data_parallel_size(model: Any) -> int:
    """Count the ranks that hold different packs.

    Args:
        model: a model provider with its parallel sizes.
    """
    replica = model.tensor_model_parallel_size * model.pipeline_model_parallel_size * model.context_parallel_size
    return int(os.environ.get("WORLD_SIZE", "1")) // replica
