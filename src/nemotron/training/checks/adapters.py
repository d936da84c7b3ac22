"""Refuse adapters that could not be made, or not be saved."""

from collections.abc import Iterator
from fnmatch import fnmatchcase

from nemotron.errors import Problem, did_you_mean
from nemotron.training.config import PeftConfig, SftConfig

PROJECTIONS = (
    *("linear_qkv", "linear_proj", "in_proj", "out_proj"),
    *("linear_fc1", "linear_fc2", "fc1_latent_proj", "fc2_latent_proj"),
    *("eh_proj", "output_layer"),
)
"""The linear layers of the model by Megatron's names: attention, Mamba, experts and their latent projections, MTP."""

_NOT_WITH_DORA = {
    **dict.fromkeys(("linear_fc1", "linear_fc2"), "does not work on routed experts"),
    "in_proj": "cannot save what it makes of Mamba layers",
}


def check_adapters(config: SftConfig) -> Iterator[Problem]:
    """Yield a problem for each setting of `peft` that cannot be trained with, and for what adapters exclude."""
    peft = config.peft
    if peft is None:
        return
    yield from _check_sizes(peft)
    if not peft.target_modules:
        yield Problem("peft.target_modules is empty: nothing would be trained.", f"Name some of {_list_projections()}.")
    for target in peft.target_modules:
        yield from _check_target(peft, target)
    if config.model.get("moe_router_bias_update_rate"):
        yield Problem(
            f"model.moe_router_bias_update_rate is {config.model['moe_router_bias_update_rate']}, but adapters "
            "leave the router as it is: its biases are not saved with them.",
            "Leave it out.",
        )


def _check_sizes(peft: PeftConfig) -> Iterator[Problem]:
    for name, why in (("dim", "it is the rank of the update"), ("alpha", "the update is scaled by alpha / dim")):
        if getattr(peft, name) < 1:
            yield Problem(f"peft.{name} is {getattr(peft, name)}: {why}.", "Use a whole number of at least 1.")
    if not 0 <= peft.dropout < 1:  # nor nan
        yield Problem(
            f"peft.dropout is {peft.dropout}: it is the share of the adapters' inputs that is left out.",
            "Use a number of at least 0 and below 1.",
        )


def _check_target(peft: PeftConfig, target: str) -> Iterator[Problem]:
    # A pattern such as *.layers.0.*.linear_qkv names a layer by its last part.
    last = target.rsplit(".", 1)[-1]
    matched = [name for name in PROJECTIONS if fnmatchcase(name, last)]
    if not matched:
        yield Problem(
            f"peft.target_modules names {target!r}, which is no linear layer of this model.",
            did_you_mean(last, PROJECTIONS) or f"Name some of {_list_projections()}.",
        )
    reasons = [] if "shared_experts" in target else [_NOT_WITH_DORA[n] for n in matched if n in _NOT_WITH_DORA]
    if peft.scheme == "dora" and reasons:
        yield Problem(
            f"peft.scheme=dora cannot adapt {target!r}: Megatron-Bridge's DoRA {reasons[0]}.",
            "Leave it out: peft.target_modules=[linear_qkv,linear_proj,out_proj]; the shared experts' are "
            "'*.shared_experts.linear_fc1' and fc2. Or use peft.scheme=lora.",
        )


def _list_projections() -> str:
    return ", ".join(PROJECTIONS)
