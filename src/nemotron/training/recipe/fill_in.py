"""What follows from the plan, the data and the number of ranks, filled in last."""

import logging
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nemotron.secrets import mask_text
from nemotron.training import bridge
from nemotron.training.checkpoints.run_folder import RunFolder
from nemotron.training.config import SftConfig
from nemotron.training.plan import Plan
from nemotron.training.prepared_data import PreparedData
from nemotron.training.ranks import count_ranks

if TYPE_CHECKING:
    from megatron.bridge.training.config import ConfigContainer

logger = logging.getLogger(__name__)


def fill_in(
    container: "ConfigContainer",
    config: SftConfig,
    plan: Plan,
    data: PreparedData,
    run: RunFolder,
    pretrained_checkpoint: Path | None,
) -> None:
    """Set the values of a config that a YAML leaves open.

    Args:
        container: With every section of the YAML, changed in place.
        config: The YAML, typed.
        plan: What the run will do.
        data: The packs.
        run: Its folders.
        pretrained_checkpoint: The checkpoint to start from; None leaves it to `checkpoint.load`.
    """
    model: Any = container.model
    container.dataset = _dataset(config, plan, data, model.context_parallel_size)
    _fill_in_length(container, config, plan)
    _fill_in_paths(container, config, plan, run, pretrained_checkpoint)
    _fill_in_validation(container, config, plan)
    model.seq_length = plan.pack_size
    # Both stages and MTP rely on gradients being divided once, by the supervised tokens of the global batch.
    model.calculate_per_token_loss = True
    container.ddp.average_in_collective = False
    if model.sequence_parallel and model.tensor_model_parallel_size == 1:
        # Megatron refuses the combination, although there is nothing to divide then.
        logger.info("model.sequence_parallel has no effect with tensor_model_parallel_size 1; it is left off.")
        model.sequence_parallel = False


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
    """Set iterations, warm-up and decay, all in samples or all in iterations.

    Megatron-Bridge does not allow a mix. It converts a schedule in samples itself, as iterations times the batch.
    """
    samples, batch, given = config.train.get("train_samples"), plan.global_batch_size, config.scheduler
    scheduler: Any = container.scheduler
    container.train.train_samples = samples
    container.train.num_epochs = None
    container.train.train_iters = None if samples else plan.train_iters
    decay = plan.decay_iters if given.get("max_steps") is None else None
    if not decay and plan.warmup_iters >= plan.train_iters:
        # The scheduler requires the decay to end after the warm-up; a constant schedule never decays.
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
    """Set checkpoints, logs and the tokenizer, if the YAML does not set them."""
    output = run.output
    container.checkpoint.save = str(run.checkpoints)
    container.checkpoint.load = str(run.load_from)
    container.checkpoint.pretrained_checkpoint = None if pretrained_checkpoint is None else str(pretrained_checkpoint)
    logs = container.logger
    logs.tensorboard_dir = str(config.tensorboard_in)
    # W&B is on if a project is set, here or in [wandb] of env.toml, which sets these variables.
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
    """Fit evaluation to the valid split.

    Batches are at most the global batch, and the split is read at most once.
    """
    ranks = _data_parallel_size(container.model)
    line = bridge.installed()
    asked, largest = (config.validation.get(key) for key in ("eval_iters", "eval_global_batch_size"))
    batch, iterations = line.evaluation(plan.valid_packs, ranks, plan.global_batch_size, largest, asked)
    if batch == 0:
        logger.warning("The valid split is empty, so there is no validation.")
    line.set_evaluation(container, batch or ranks, iterations)


def _data_parallel_size(model: Any) -> int:
    """Count the ranks that hold different packs.

    Args:
        model: A model provider with its parallel sizes.
    """
    replica = model.tensor_model_parallel_size * model.pipeline_model_parallel_size * model.context_parallel_size
    return count_ranks() // replica
