"""Check settings by the config alone: numbers, fixed settings, adapters, trackers.

This runs before Megatron-Bridge's own classes see them.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from nemotron.errors import Problem, did_you_mean
from nemotron.training.config import PeftConfig, SftConfig

_SIZES = ("tensor_model", "pipeline_model", "context", "expert_model", "expert_tensor")
_LEAST = {
    "train.train_iters": 1,
    "train.train_samples": 1,
    "scheduler.lr_warmup_samples": 0,
    "scheduler.lr_warmup_iters": 0,
    **{f"scheduler.lr_{kind}_{unit}": 1 for kind in ("decay", "wsd_decay") for unit in ("iters", "samples")},
    "scheduler.max_steps": 1,
    "validation.eval_iters": 0,
    "validation.eval_global_batch_size": 1,
    "validation.eval_interval": 0,
    # 0 would save nothing at all, not even at the end of the run; null saves at the end.
    "checkpoint.save_interval": 1,
    "logger.log_interval": 1,
    "dataset.seq_length": 1,
    "dataset.pad_seq_to_mult": 1,
    **{f"model.{size}_parallel_size": 1 for size in _SIZES},
    "model.mtp_num_layers": 0,
}
"""Maps a key to its smallest whole number; null leaves it to the default."""
BIAS_UPDATE_RATE = 1e-3
"""`model.moe_router_bias_update_rate` of config/default.yaml, and of Megatron-Core."""
_DIVIDED_ONCE = "both stages of the loss and MTP need gradients divided once, by the supervised tokens of a whole batch"
_REQUIRED: dict[str, tuple[Any, str]] = {
    "train.micro_batch_size": (1, "a micro-batch is one pack, which holds many conversations"),
    "model.calculate_per_token_loss": (True, _DIVIDED_ONCE),
    "ddp.average_in_collective": (False, _DIVIDED_ONCE),
    "dataset.dataloader_type": ("batch", "the step must see the loss masks of its whole batch first"),
    # Megatron-Core 0.19 ignores it (core/num_microbatches_calculator.py). A release that did not would cut the same
    # batches into fewer, larger micro-batches (megatron/bridge/data/batch_utils.py, prepare_finetuning_batch).
    "train.rampup_batch_size": (None, "every batch has train.global_batch_size packs, from the first one on"),
    "model.overlap_moe_expert_parallel_comm": (False, "it ignores the boundaries between the sequences of a pack"),
}
"""Maps a key to the only value it may have, and why."""
_COMPUTED = {
    "scheduler.lr_warmup_steps": "scheduler.lr_warmup_samples",
    "scheduler.lr_decay_steps": "scheduler.lr_decay_samples",
    "scheduler.wsd_decay_steps": "scheduler.lr_wsd_decay_samples",
    "scheduler.wd_incr_steps": "what sets the length of the run",
}
"""Maps a key that Megatron-Bridge always computes to what it follows from."""
PROJECTIONS = (
    *("linear_qkv", "linear_proj", "in_proj", "out_proj"),
    *("linear_fc1", "linear_fc2", "fc1_latent_proj", "fc2_latent_proj"),
    *("eh_proj", "output_layer"),
)
"""Megatron's names of the model's linear layers: attention, Mamba, experts and their latent projections, MTP."""

_NOT_WITH_DORA = {
    **dict.fromkeys(("linear_fc1", "linear_fc2"), "does not work on routed experts"),
    "in_proj": "cannot save its Mamba layers",
}


@dataclass(frozen=True)
class Tracker:
    """An experiment tracker that Megatron-Bridge logs to."""

    name: str
    prefix: str
    switch: str
    """The key that turns it on; the others do nothing by themselves."""
    module: str
    package: str


TRACKERS = (
    Tracker("MLflow", "mlflow_", "mlflow_experiment", "mlflow", "mlflow"),
    Tracker("Comet", "comet_", "comet_project", "comet_ml", "comet-ml"),
)
COMET_KEY = "COMET_API_KEY"
_TAGS: dict[str, tuple[type, str]] = {
    "mlflow_tags": (dict, "names and texts, such as {team: chat}"),
    "comet_tags": (list, "a list of texts, such as [chat, tiny]"),
}


def check_numbers(config: SftConfig) -> Iterator[Problem]:
    """Yield a problem for each number of the wrong type or outside its range.

    The other checks compute with these numbers, and run only if all of them are valid.
    """
    batch = config.train.get("global_batch_size")
    if not _is_whole(batch, 1):  # the only one without a default
        yield _not_whole("train.global_batch_size", batch, 1)
    for key, least in _LEAST.items():
        section, name = key.split(".")
        value = getattr(config, section).get(name)
        if value is not None and not _is_whole(value, least):
            yield _not_whole(key, value, least)
    epochs = config.train.get("num_epochs")
    if epochs is not None and not (_is_number(epochs) and 0 < epochs < math.inf):  # nor nan
        yield Problem(f"train.num_epochs is {epochs!r}.", "Use a positive number; 0.5 is half an epoch.")
    fraction = config.scheduler.get("lr_warmup_fraction")
    if fraction is not None and not (_is_number(fraction) and 0 <= fraction < 1):  # nor nan
        yield Problem(
            f"scheduler.lr_warmup_fraction is {fraction!r}, which is not a fraction of the run.",
            "Use a number of at least 0 and below 1.",
        )
    weight = config.model.get("mtp_loss_scaling_factor")
    if weight is not None and not (_is_number(weight) and 0 <= weight < math.inf):  # nor nan
        yield Problem(
            f"model.mtp_loss_scaling_factor is {weight!r}, which cannot weigh the loss of multi-token prediction.",
            "Use a number of at least 0, or train without MTP: model.mtp_num_layers=null.",
        )


def check_settings(config: SftConfig) -> Iterator[Problem]:
    """Yield a problem for each setting that has to have another value."""
    for key, (value, why) in _REQUIRED.items():
        section, name = key.split(".")
        given = getattr(config, section).get(name)
        if given is not None and given != value:
            wanted = "null" if value is None else repr(value)
            yield Problem(f"{key} is {given!r}, but it must be {wanted}, because {why}.", f"Remove {key}.")
    for key, source in _COMPUTED.items():
        section, name = key.split(".")
        if getattr(config, section).get(name) is not None:
            yield Problem(f"{key} is set, but Megatron-Bridge computes it.", f"Set {source} instead.")


def check_adapters(config: SftConfig) -> Iterator[Problem]:
    """Yield a problem for each setting that does not work with adapters."""
    peft = config.peft
    if config.convert_to_hf.adapter and (peft is None or peft.scheme != "lora"):
        trained = "no adapters" if peft is None else f"peft.scheme={peft.scheme}"
        yield Problem(
            f"convert_to_hf.adapter is true, but this run trains {trained}; only LoRA adapters are exported alone.",
            "Remove convert_to_hf.adapter, or train with -c lora.",
        )
    if peft is None:
        return
    yield from _check_sizes(peft)
    if not peft.target_modules:
        yield Problem(
            "peft.target_modules is empty, so nothing would be trained.", f"List some of {_list_projections()}."
        )
    for target in peft.target_modules:
        yield from _check_target(peft, target)
    yield from _check_adapted_experts(config, peft)
    # The default of full fine-tuning is not the user's choice; recipe/build.py sets it to 0.
    if config.model.get("moe_router_bias_update_rate") not in (None, 0, BIAS_UPDATE_RATE):
        yield Problem(
            f"model.moe_router_bias_update_rate is {config.model['moe_router_bias_update_rate']}, but adapters "
            "do not train the router, and its biases are not saved with them.",
            "Leave it out.",
        )


def check_trackers(config: SftConfig) -> Iterator[Problem]:
    """Yield a problem for each setting of MLflow or Comet that is of no use.

    Megatron-Bridge logs to both; its own checks come after minutes, and pass over settings that have no effect.
    """
    logger = config.logger
    if logger.get("comet_api_key") is not None:
        yield Problem(
            "logger.comet_api_key is set: the config of a run is written in many places.",
            f"Leave it out, and set the variable {COMET_KEY}.",
        )
    for tracker in TRACKERS:
        given = [key for key, value in logger.items() if key.startswith(tracker.prefix) and value is not None]
        idle = [key for key in given if key not in ("comet_api_key", "mlflow_log_artifacts")]
        if idle and not logger.get(tracker.switch):
            yield Problem(
                f"logger.{idle[0]} is set, but without logger.{tracker.switch} nothing is recorded in {tracker.name}.",
                f"Set logger.{tracker.switch}, or leave logger.{idle[0]} out.",
            )
    for key, (kind, wanted) in _TAGS.items():
        value = logger.get(key)
        if value is not None and not (isinstance(value, kind) and all(isinstance(text, str) for text in _texts(value))):
            yield Problem(f"logger.{key} is {value!r}.", f"Give {wanted}.")


def _check_adapted_experts(config: SftConfig, peft: PeftConfig) -> Iterator[Problem]:
    """Yield a problem if adapters on experts would silently train on wrong sums.

    This is Megatron-Bridge#5634: Megatron-Core leaves the sum over tensor-parallel ranks to the token dispatcher, which
    ignores adapters. At expert_tensor_parallel_size 2, every gradient is wrong by about its own size.
    """
    model = config.model
    tensor = model.get("tensor_model_parallel_size") or 1
    divided = model.get("expert_tensor_parallel_size") or tensor
    if divided > 1 and peft.adapts_routed_experts:
        yield Problem(
            f"model.expert_tensor_parallel_size is {divided}, with which Megatron-Bridge trains adapters on routed "
            "experts wrongly.",
            "Use model.expert_tensor_parallel_size=1 with a larger model.expert_model_parallel_size, or list "
            "'*.shared_experts.linear_fc*' in peft.target_modules instead of linear_fc1 and linear_fc2.",
        )
    if tensor > 1 and model.get("moe_shared_expert_overlap"):
        yield Problem(
            f"model.moe_shared_expert_overlap is true with model.tensor_model_parallel_size={tensor}, with which "
            "Megatron-Bridge trains adapters on shared experts wrongly.",
            "Remove model.moe_shared_expert_overlap.",
        )


def _check_sizes(peft: PeftConfig) -> Iterator[Problem]:
    for name, why in (("dim", "it is the rank of the update"), ("alpha", "the update is scaled by alpha / dim")):
        if getattr(peft, name) < 1:
            yield Problem(f"peft.{name} is {getattr(peft, name)}: {why}.", "Use a whole number of at least 1.")
    if not 0 <= peft.dropout < 1:  # nor nan
        yield Problem(
            f"peft.dropout is {peft.dropout}, which is not a share of the adapters' inputs.",
            "Use a number of at least 0 and below 1.",
        )


def _check_target(peft: PeftConfig, target: str) -> Iterator[Problem]:
    # A pattern such as *.layers.0.*.linear_qkv names a layer by its last part.
    last = target.rsplit(".", 1)[-1]
    matched = [name for name in PROJECTIONS if fnmatchcase(name, last)]
    if not matched:
        yield Problem(
            f"peft.target_modules has {target!r}, which is not a linear layer of this model.",
            did_you_mean(last, PROJECTIONS) or f"List some of {_list_projections()}.",
        )
    reasons = [] if "shared_experts" in target else [_NOT_WITH_DORA[n] for n in matched if n in _NOT_WITH_DORA]
    if peft.scheme == "dora" and reasons:
        yield Problem(
            f"peft.scheme=dora cannot adapt {target!r}: Megatron-Bridge's DoRA {reasons[0]}.",
            "Remove it: peft.target_modules=[linear_qkv,linear_proj,out_proj]; the shared experts' layers are "
            "'*.shared_experts.linear_fc1' and fc2. Or use peft.scheme=lora.",
        )


def _list_projections() -> str:
    return ", ".join(PROJECTIONS)


def _texts(value: Any) -> list[Any]:
    return [*value, *value.values()] if isinstance(value, dict) else value


def _not_whole(key: str, value: object, least: int) -> Problem:
    return Problem(f"{key} is {value!r}.", f"Use a whole number of at least {least}.")


def _is_whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
