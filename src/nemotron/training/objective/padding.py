"""Find the padding positions of a pack, which must not take part in routing."""

from collections.abc import Collection

import torch


def padding_positions(
    tokens: torch.Tensor,
    loss_mask: torch.Tensor,
    boundaries: torch.Tensor,
    filled: int,
    pad_ids: Collection[int],
    *,
    pads_conversations: bool,
) -> torch.Tensor:
    """Return which positions of a pack are padding.

    After the last conversation all are. Inside a conversation that data prep padded (`pad_to_multiple`) it is the run
    of padding tokens at its end, without a token that the position before it is trained to predict: where a tokenizer
    pads with its end-of-turn token, the first of the run may be one that was written.

    Args:
        tokens: int64 [tokens], inputs of the pack.
        loss_mask: [tokens], positive where the next token is supervised.
        boundaries: Int [n + 1], cumulative lengths of the conversations as they lie in memory; final values may repeat.
        filled: Positions that conversations take, their own padding included.
        pad_ids: Tokens that pad.
        pads_conversations: Whether data prep padded conversations.

    Returns:
        Bool [tokens], on the device of `tokens`.
    """
    length = len(tokens)
    positions = torch.arange(length, device=tokens.device)
    tail = positions >= filled
    if not pads_conversations:
        return tail
    is_pad = torch.isin(tokens, torch.tensor(list(pad_ids), device=tokens.device))
    # The nearest position from here on that is not a padding token; `length` without one.
    text = torch.where(is_pad, length, positions)
    next_text = text.flip(0).cummin(0).values.flip(0)
    ends = boundaries[1:].long().contiguous()
    conversation = torch.searchsorted(ends, positions, right=True).clamp(max=len(ends) - 1)
    run = next_text >= ends[conversation]
    before = torch.roll(run, 1)
    begins = boundaries[:-1].long()[conversation] == positions
    is_target = (torch.roll(loss_mask, 1) > 0) & ~begins
    return tail | (run & ~(is_target & ~before))
