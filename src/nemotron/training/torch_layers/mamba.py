"""Replace the two mamba_ssm kernels of Megatron's MambaMixer with plain torch.

The kernels are a gated RMSNorm, and `mamba_split_conv1d_scan_combined` (depthwise causal convolution, then the
state-space scan). The convolution and the scan respect `seq_idx`, so that neither the convolution window nor the state
crosses from one sequence of a pack into the next. Everything runs on the device of its inputs.

The scan is the chunked form of structured state-space duality (Dao and Gu 2024, "Transformers are SSMs", section 6):
quadratic inside chunks of `chunk_size` tokens, a recurrence over chunk states between them, so memory and time grow
linearly with the sequence.

Shapes use  b: batch, l: tokens, h: heads, p: head size, g: groups, n: state size, r = h / g: heads per group,
c: chunks, and i or j: a token's place in its chunk (output and input).
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class GatedRMSNorm(nn.Module):
    """Normalizes groups of `group_size` channels by their RMS, optionally gated.

    With a gate z the result is `norm(x * silu(z))`, or `norm(x) * silu(z)` when `norm_before_gate`. It is computed in
    float32.

    Source: `mamba_ssm.ops.triton.layernorm_gated.RMSNorm`.
    """

    def __init__(
        self,
        hidden_size: int,
        eps: float = 1e-5,
        group_size: int | None = None,
        norm_before_gate: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(hidden_size, device=device, dtype=dtype))
        self.eps = eps
        self.group_size = group_size or hidden_size
        self.norm_before_gate = norm_before_gate

    def forward(self, x: Tensor, z: Tensor | None = None) -> Tensor:
        """Normalize x, gated by z, both [..., hidden_size], in the type of x."""
        y = x.float()
        if z is not None and not self.norm_before_gate:
            y = y * F.silu(z.float())
        y = F.rms_norm(y.unflatten(-1, (-1, self.group_size)), (self.group_size,), eps=self.eps).flatten(-2)
        y = y * self.weight.float()
        if z is not None and self.norm_before_gate:
            y = y * F.silu(z.float())
        return y.to(x.dtype)


def split_conv1d_scan_combined(
    zxbcdt: Tensor,
    conv1d_weight: Tensor,
    conv1d_bias: Tensor,
    dt_bias: Tensor,
    A: Tensor,
    D: Tensor,
    chunk_size: int,
    *,
    headdim: int,
    ngroups: int = 1,
    seq_idx: Tensor | None = None,
    activation: str = "silu",
    norm_before_gate: bool = False,
) -> Tensor:
    """Compute mamba_ssm's `mamba_split_conv1d_scan_combined`, with the same arguments.

    Args:
        zxbcdt: [b, l, 2 h p + 2 g n + h], the input projection: gate z, then x, B and C, then dt.
        conv1d_weight: [h p + 2 g n, width].
        conv1d_bias: [h p + 2 g n].
        dt_bias, A, D: [h]; A is negative.
        seq_idx: Int [b, l], non-decreasing along l: the sequence of the pack that each token belongs to; None: one
            sequence.

    Returns:
        The gated scan `y * silu(z)`, [b, l, h p], in the type of zxbcdt. MambaMixer applies the norm after it.
    """
    if activation not in ("silu", "swish") or norm_before_gate:
        raise NotImplementedError(f"Mamba with activation {activation!r}, norm_before_gate={norm_before_gate}")
    heads, inner = A.shape[0], A.shape[0] * headdim
    states = (conv1d_weight.shape[0] - inner) // 2  # g n
    z, xbc, dt = zxbcdt.split([inner, inner + 2 * states, heads], dim=-1)

    def scan(xbc: Tensor, dt: Tensor) -> Tensor:
        x, b, c = F.silu(causal_conv1d(xbc, conv1d_weight, conv1d_bias, seq_idx)).split([inner, states, states], dim=-1)
        y = scan_in_chunks(
            x.unflatten(-1, (heads, headdim)).float(),
            F.softplus(dt.float() + dt_bias),
            A,
            b.unflatten(-1, (ngroups, -1)).float(),
            c.unflatten(-1, (ngroups, -1)).float(),
            D.float(),
            chunk_size,
            seq_idx,
        )
        return y.flatten(-2).to(z.dtype)

    # On a GPU, where memory is scarce, the backward pass computes the scan again, as mamba_ssm's does: the intermediate
    # values take many times the memory of the input.
    y: Any = (
        checkpoint(scan, xbc, dt, use_reentrant=False, preserve_rng_state=False) if zxbcdt.is_cuda else scan(xbc, dt)
    )
    return y * F.silu(z)


def causal_conv1d(x: Tensor, weight: Tensor, bias: Tensor, seq_idx: Tensor | None = None) -> Tensor:
    """Convolve each channel over the tokens up to each position of its sequence.

    Args:
        x: [b, l, d].
        weight: [d, width]; the last column is the weight of the token itself.
        bias: [d].
        seq_idx: Int [b, l], as above.

    Returns:
        [b, l, d].
    """
    length, width = x.shape[1], weight.shape[1]
    y = x * weight[:, -1] + bias
    for back in range(1, min(width, length)):
        earlier = x[:, :-back]
        if seq_idx is not None:
            earlier = earlier * (seq_idx[:, back:] == seq_idx[:, :-back]).unsqueeze(-1)
        y = y + F.pad(earlier * weight[:, -1 - back], (0, 0, back, 0))
    return y


def scan_in_chunks(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, chunk_size: int, seq_idx: Tensor | None = None
) -> Tensor:
    """Scan the states of each sequence, starting from s = 0.

    s_t = exp(dt_t A) s_{t-1} + dt_t x_t B_t^T, y_t = s_t C_t + D x_t.

    Sequences may start anywhere in a chunk. Everything is float32.

    Args:
        x: [b, l, h, p].
        dt: [b, l, h], positive.
        A, D: [h].
        B, C: [b, l, g, n].
        seq_idx: Int [b, l], or None for one sequence.

    Returns:
        [b, l, h, p].
    """
    length, groups = x.shape[1], B.shape[2]
    skip = x * D.unsqueeze(-1)
    if seq_idx is None:
        seq_idx = x.new_zeros(x.shape[:2], dtype=torch.int32)

    padding = -length % chunk_size
    if padding:  # with dt = 0 a token neither decays the state nor adds to it
        x, dt, B, C = (F.pad(t, (0, 0) * (t.dim() - 2) + (0, padding)) for t in (x, dt, B, C))
        seq_idx = torch.cat([seq_idx, seq_idx[:, -1:].expand(-1, padding)], dim=1)

    heads_per_group = x.shape[2] // groups
    x = (x * dt.unsqueeze(-1)).unflatten(2, (groups, heads_per_group)).unflatten(1, (-1, chunk_size))  # b c j g r p
    B, C = B.unflatten(1, (-1, chunk_size)), C.unflatten(1, (-1, chunk_size))  # b c j g n
    seq = seq_idx.unflatten(1, (-1, chunk_size))  # b c j
    causal = torch.ones(chunk_size, chunk_size, dtype=torch.bool, device=x.device).tril()
    visible = causal & (seq.unsqueeze(-1) == seq.unsqueeze(-2))  # b c i j: token i sees token j
    # Log of the decay to each token from the first token of its sequence in the chunk. This is a product with zeros and
    # ones because cumsum would carry rounding errors of one sequence into the next, and into its gradients.
    step = (dt * A).unflatten(2, (groups, heads_per_group)).unflatten(1, (-1, chunk_size))
    decay = torch.einsum("bcij,bcjgr->bcigr", visible.to(step.dtype), step)

    y = _within_chunks(x, B, C, decay, visible) + _from_earlier_chunks(x, B, C, decay, seq)
    return y.flatten(3, 4).flatten(1, 2)[:, :length] + skip


def _within_chunks(x: Tensor, B: Tensor, C: Tensor, decay: Tensor, visible: Tensor) -> Tensor:
    """Sum what each token receives from its own chunk.

    The masked scores are C_i B_j exp(decay_i - decay_j).
    """
    decay = decay.permute(0, 1, 3, 4, 2)  # b c g r j
    # Masked before the exponential, which could overflow where the difference is positive (i before j).
    weight = (decay.unsqueeze(-1) - decay.unsqueeze(-2)).masked_fill(~visible[:, :, None, None], -torch.inf).exp()
    scores = torch.einsum("bcign,bcjgn->bcgij", C, B)
    return torch.einsum("bcgrij,bcjgrp->bcigrp", scores.unsqueeze(3) * weight, x)


def _from_earlier_chunks(x: Tensor, B: Tensor, C: Tensor, decay: Tensor, seq: Tensor) -> Tensor:
    """Sum what each token receives from earlier chunks.

    It comes from the state of the token's sequence at the end of the previous chunk.
    """
    last = seq[:, :, -1]  # b c
    in_last = (seq == last.unsqueeze(-1))[..., None, None]  # tokens whose state survives to the end of their chunk
    to_end = (decay[:, :, -1:] - decay).masked_fill(~in_last, -torch.inf).exp()
    added = torch.einsum("bcjgn,bcjgrp->bcgrpn", B, x * to_end.unsqueeze(-1))
    # The incoming state reaches the end of a chunk only if one sequence spans it and the end of the previous chunk.
    spanned = F.pad(last[:, 1:] == last[:, :-1], (1, 0))
    kept = decay[:, :, -1].exp() * spanned[..., None, None]  # b c g r

    state = torch.zeros_like(added[:, 0])
    incoming = []
    for chunk in range(added.shape[1]):
        incoming.append(state)
        state = added[:, chunk] + kept[:, chunk, :, :, None, None] * state
    before = F.pad(last[:, :-1], (1, 0), value=-1)  # the sequence the incoming state belongs to; none at the start
    continues = (seq == before.unsqueeze(-1))[..., None, None]
    received = torch.einsum("bcign,bcgrpn->bcigrp", C, torch.stack(incoming, dim=1))
    return received * (decay.exp() * continues).unsqueeze(-1)
