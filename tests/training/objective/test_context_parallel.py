"""Context parallelism divides each conversation among ranks after its weights are known; the sums must not change.

Training with it needs Transformer Engine, so what is shown here is the part that is ours: the weights.
"""

from itertools import chain, pairwise

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from nemotron.training.objective.loss import BatchTotals, sample_weights, token_weights


def positions_of_rank(boundaries, ranks, rank):
    """Transformer Engine's division: 2 * ranks equal slices of each conversation, of which a rank takes one from the
    front and its mirror image from the back."""
    positions = []
    for start, end in pairwise(boundaries):
        size = (end - start) // (2 * ranks)
        for slice_ in (rank, 2 * ranks - 1 - rank):
            positions += range(start + slice_ * size, start + (slice_ + 1) * size)
    return positions


@st.composite
def divided_packs(draw):
    """(ranks, boundaries, loss mask, losses) of a pack whose conversations are padded as the division needs."""
    ranks = draw(st.sampled_from([1, 2, 4]))
    lengths = [2 * ranks * n for n in draw(st.lists(st.integers(1, 4), min_size=1, max_size=5))]
    boundaries = torch.tensor([0, *lengths]).cumsum(0).tolist()
    random = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    mask = (torch.rand(boundaries[-1], generator=random) < draw(st.sampled_from([0.1, 0.5, 1.0]))).long()
    return ranks, boundaries, mask, 10 * torch.rand(boundaries[-1], generator=random)


@given(divided_packs())
def test_the_losses_of_all_ranks_add_up_to_the_two_averages(pack):
    ranks, boundaries, mask, losses = pack
    supervised = [losses[a:b][mask[a:b] > 0].tolist() for a, b in pairwise(boundaries)]
    supervised = [values for values in supervised if values]
    tokens = sum(len(values) for values in supervised)
    assume(tokens)
    totals = BatchTotals(tokens, len(supervised))
    weights = sample_weights(mask, torch.tensor(boundaries, dtype=torch.int32))
    parts = [positions_of_rank(boundaries, ranks, rank) for rank in range(ranks)]
    by_token, by_sample = (
        sum((token_weights(weights[part], totals, average) * losses[part]).double().sum().item() for part in parts)
        for average in ("token", "sample")
    )
    assert by_token / tokens == pytest.approx(sum(sum(values) for values in supervised) / tokens, rel=1e-5)
    expected = sum(sum(values) / len(values) for values in supervised) / len(supervised)
    assert by_sample / tokens == pytest.approx(expected, rel=1e-5)


@given(divided_packs())
def test_a_conversation_on_many_ranks_counts_once(pack):
    ranks, boundaries, mask, _ = pack
    weights = sample_weights(mask, torch.tensor(boundaries, dtype=torch.int32))
    parts = [positions_of_rank(boundaries, ranks, rank) for rank in range(ranks)]
    assert sorted(chain(*parts)) == list(range(boundaries[-1]))
    counted = sum(weights[part].sum().item() for part in parts)
    assert counted == pytest.approx(sum(bool(mask[a:b].any()) for a, b in pairwise(boundaries)), abs=1e-4)


def test_a_conversation_of_eight_tokens_is_divided_between_two_ranks():
    # Answers at positions 5 to 7. Rank 0 holds positions 0 1 and 6 7, rank 1 holds 2 3 and 4 5.
    weights = sample_weights(torch.tensor([0, 0, 0, 0, 0, 1, 1, 1]), torch.tensor([0, 8], dtype=torch.int32))
    third = pytest.approx(1 / 3)
    assert weights[positions_of_rank([0, 8], 2, 0)].tolist() == [0, 0, third, third]
    assert weights[positions_of_rank([0, 8], 2, 1)].tolist() == [0, 0, 0, third]
