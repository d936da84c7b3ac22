"""The documented objectives, written out with loops, and their gradients by autograd.

With N supervised tokens and |B| conversations that have any, over the whole global batch:

    token average    L = 1/N   sum over supervised tokens of their loss
    sample average   L = 1/|B| sum over conversations of the mean loss of their supervised tokens
    by conversation  L = 1/W   sum over sequences of  share * (mean loss of its supervised tokens)

where the share of a sequence is its supervised tokens over those of all sequences of its conversation, in this batch or
not, and W is the sum of shares over the global batch. ("Conversation" is said here of a sequence, but in this line.)

and in both, added to it,

    MTP              1/N sum over packs, over depths of  scale/depths * n * (mean loss of the pack's targets)
    auxiliary loss   1/N sum over packs, over MoE layers of  T * coefficient * experts/(k T^2) * sum_e P_e f_e

where a pack has T positions of text, and n supervised tokens; its targets at a depth are the supervised
tokens that lie that much further on in the same conversation; P_e sums an expert's normalised scores over the pack, f_e
counts the positions that have it among their k highest, padding left out of both (included, as T then is, in the 0.4
line of Megatron-Bridge, which cannot leave it out). Both are Megatron-Core's definitions under
`calculate_per_token_loss`, where every gradient is divided by N at the end: process_mtp_loss in
core/transformer/multi_token_prediction.py, and `seq_aux_loss` in core/transformer/moe/router.py. The MTP layer's own
experts are counted once per depth.
"""

from dataclasses import dataclass

import torch
from tests.training.exactness.batches import EOS, Batch, Conversation, targets
from tests.training.exactness.reference_model import Output, ReferenceModel
from torch import Tensor

from nemotron.training import bridge

AVERAGES = ("token", "sample", "conversation")


@dataclass(frozen=True)
class Truth:
    """Losses and gradients of one global batch."""

    losses: dict[str, float]
    """token, sample, conversation, mtp_1, mtp_2."""
    gradients: dict[str, dict[str, Tensor]]
    """Average ("token", "sample" or "conversation") -> parameter -> gradient of what that stage trains, float64."""
    margin: float
    """The smallest gap in any expert choice."""


def solve(
    model: ReferenceModel, parameters: dict[str, Tensor], batch: Batch, mtp_scale: float, aux_coefficient: float
) -> Truth:
    """Losses of `batch`, and their gradients with respect to `parameters`, of which the model's weights are made."""
    counts = [sum(targets(conversation)) for pack in batch.packs for conversation in pack]
    tokens, conversations = sum(counts), sum(count > 0 for count in counts)
    shares = sum(sum(targets(c)) / c.whole for pack in batch.packs for c in pack if c.whole)
    gradients = {stage: {n: torch.zeros_like(w) for n, w in parameters.items()} for stage in AVERAGES}
    sums: dict[str, float] = {}
    margin = float("inf")
    for pack in batch.packs:
        outputs = [model(conversation.ids) for conversation in pack]
        padding = batch.pack_size - sum(len(conversation.ids) - 1 for conversation in pack)
        fillers = [model([EOS] * (padding + 1))] if padding else []
        main = _averages(pack, outputs, tokens, conversations, shares)
        mtp = _mtp_means(pack, outputs)
        here = sum(sum(targets(conversation)) for conversation in pack)
        if bridge.installed().MASKS_PADDING:
            text = [conversation.text_positions for conversation in pack]
            shared = aux_coefficient * _auxiliary(outputs, text, model) / tokens
        else:
            positions = [len(output.losses[0]) for output in outputs + fillers]
            shared = aux_coefficient * _auxiliary(outputs + fillers, positions, model) / tokens
        for depth_mean in mtp:
            shared = shared + mtp_scale / len(mtp) * here * depth_mean / tokens
        for stage, loss in main.items():
            _accumulate(gradients[stage], parameters, loss + shared)
        reported = {**main, **{f"mtp_{d}": mean * here / tokens for d, mean in enumerate(mtp, start=1)}}
        for name, value in reported.items():
            sums[name] = sums.get(name, 0.0) + value.item()
        margin = min([margin, *(output.margin for output in outputs + fillers)])
    return Truth(sums, gradients, margin)


def _averages(
    pack: list[Conversation], outputs: list[Output], tokens: int, conversations: int, shares: float
) -> dict[str, Tensor]:
    """This pack's part of the averages."""
    by_token = by_sample = by_conversation = torch.zeros(())
    for conversation, output in zip(pack, outputs, strict=True):
        losses = [loss for loss, trained in zip(output.losses[0], targets(conversation), strict=True) if trained]
        for loss in losses:
            by_token = by_token + loss / tokens
            by_sample = by_sample + loss / (conversations * len(losses))
        if losses:
            share = len(losses) / conversation.whole
            by_conversation = by_conversation + share / shares * (sum(losses) / len(losses))
    return {"token": by_token, "sample": by_sample, "conversation": by_conversation}


def _mtp_means(pack: list[Conversation], outputs: list[Output]) -> list[Tensor]:
    """The mean loss of the pack's targets, depth by depth; 0 where it has none."""
    means = []
    for depth in range(1, len(outputs[0].losses)):
        losses = []
        for conversation, output in zip(pack, outputs, strict=True):
            trained = targets(conversation)
            losses += [output.losses[depth][t] for t in range(len(trained) - depth) if trained[t + depth]]
        means.append(torch.stack(losses).mean() if losses else torch.zeros(()))
    return means


def _auxiliary(outputs: list[Output], counted: list[int], model: ReferenceModel) -> Tensor:
    """T * experts/(k T^2) * sum_e P_e f_e, summed over the MoE layers of one pack.

    Of each output the first `counted` positions take part.
    """
    total, positions = torch.zeros(()), sum(counted)
    for layer in zip(*(output.routings for output in outputs), strict=True):
        probability = torch.cat([routing.scores[:n] for routing, n in zip(layer, counted, strict=True)]).sum(0)
        count = torch.cat([routing.top[:n] for routing, n in zip(layer, counted, strict=True)]).sum(0)
        experts, k = len(count), model.config["num_experts_per_tok"]
        total = total + positions * experts / (k * positions**2) * (probability * count).sum()
    return total


def _accumulate(into: dict[str, Tensor], parameters: dict[str, Tensor], loss: Tensor) -> None:
    found = torch.autograd.grad(loss, list(parameters.values()), retain_graph=True, allow_unused=True)
    for name, gradient in zip(parameters, found, strict=True):
        if gradient is not None:
            into[name] += gradient
