"""The two-stage loss against its two formulas, written out conversation by conversation in plain Python."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nemotron.training.config import StageConfig
from nemotron.training.objective.loss import (
    BatchTotals,
    Schedule,
    Stage,
    conversation_index,
    conversation_weights,
    resolve_schedule,
    sample_weights,
    token_weights,
)

# A pack is a list of conversations; a conversation is a list of (loss, supervised).
position = st.tuples(st.floats(0, 10, width=32), st.booleans())
pack = st.lists(st.lists(position, min_size=1, max_size=12), min_size=1, max_size=5)
batches = st.lists(pack, min_size=1, max_size=6).filter(
    lambda packs: any(supervised for p in packs for c in p for _, supervised in c)
)


def tensors(conversations, padding):
    """One pack as the step sees it: losses, loss mask and boundaries, padded as Megatron-Bridge's collator does."""
    flat = [x for conversation in conversations for x in conversation]
    losses = torch.tensor([loss for loss, _ in flat] + [7.0] * padding)
    mask = torch.tensor([int(supervised) for _, supervised in flat] + [0] * padding)
    boundaries = [0]
    for conversation in conversations:
        boundaries.append(boundaries[-1] + len(conversation))
    if padding:
        boundaries.append(boundaries[-1] + padding)
    return losses, mask, torch.tensor([*boundaries, boundaries[-1], boundaries[-1]], dtype=torch.int32)


def totals_of(packs):
    conversations = [c for p in packs for c in p]
    counts = [sum(supervised for _, supervised in c) for c in conversations]
    return BatchTotals(sum(counts), sum(count > 0 for count in counts))


def trained_loss(packs, average, padding=3):
    """What Megatron computes from our weights: the weighted sum over all micro-batches, divided by N."""
    totals = totals_of(packs)
    total = 0.0
    for conversations in packs:
        losses, mask, boundaries = tensors(conversations, padding)
        weights = token_weights(sample_weights(mask, boundaries), totals, average)
        total += (losses.double() * weights.double()).sum().item()
    return total / totals.supervised_tokens


@settings(max_examples=40)
@given(batches)
def test_token_stage_is_the_mean_over_supervised_tokens_of_the_batch(packs):
    supervised = [loss for p in packs for c in p for loss, on in c if on]
    assert trained_loss(packs, "token") == pytest.approx(sum(supervised) / len(supervised), rel=1e-5, abs=1e-6)


@settings(max_examples=40)
@given(batches)
def test_sample_stage_is_the_mean_over_conversations_of_their_means(packs):
    conversations = [[loss for loss, on in c if on] for p in packs for c in p]
    means = [sum(losses) / len(losses) for losses in conversations if losses]
    assert trained_loss(packs, "sample") == pytest.approx(sum(means) / len(means), rel=1e-5, abs=1e-6)


@given(pack, st.integers(0, 4))
def test_sample_weights_sum_to_one_over_each_conversation_and_are_positive_where_the_mask_is(conversations, padding):
    _, mask, boundaries = tensors(conversations, padding)
    weights = sample_weights(mask, boundaries)
    assert torch.equal(weights > 0, mask > 0)
    start = 0
    for conversation in conversations:
        here = weights[start : start + len(conversation)].sum().item()
        assert here == pytest.approx(1.0 if any(on for _, on in conversation) else 0.0, rel=1e-6)
        start += len(conversation)


def test_two_conversations_of_unequal_length_have_two_averages():
    # Three supervised tokens of loss 1 against one of loss 5: the token average is 2, the average of averages 3.
    packs = [[[(1.0, True), (1.0, True), (1.0, True)], [(9.0, False), (5.0, True)]]]
    assert trained_loss(packs, "token") == pytest.approx(2.0)
    assert trained_loss(packs, "sample") == pytest.approx(3.0)


def test_conversation_index_follows_the_boundaries_and_sets_padding_apart():
    assert conversation_index(torch.tensor([0, 2, 5, 5], dtype=torch.int32), 7).tolist() == [0, 0, 1, 1, 1, 3, 3]


def test_weights_are_computed_where_the_batch_is(names_devices):
    mask, boundaries = torch.tensor([0, 1, 1]), torch.tensor([0, 2, 3])
    with names_devices:
        sample_weights(mask, boundaries)
        conversation_weights(mask, boundaries, targets=boundaries[1:])


def test_positions_after_the_last_boundary_have_no_weight():
    mask, boundaries = torch.tensor([1, 1, 0, 0]), torch.tensor([0, 2])
    assert sample_weights(mask, boundaries).tolist() == [0.5, 0.5, 0, 0]
    assert conversation_weights(mask, boundaries, torch.tensor([4])).tolist() == [0.25, 0.25, 0, 0]


def test_the_mask_alone_decides_the_token_weights():
    _, mask, boundaries = tensors([[(1.0, True), (1.0, False)], [(1.0, True)]], padding=1)
    weights = token_weights(sample_weights(mask, boundaries), BatchTotals(2, 2), "token")
    assert weights.tolist() == mask.float().tolist()


@pytest.mark.parametrize(("tokens", "conversations"), [(7, 3), (1234567, 1001), (0, 0)])
def test_totals_may_be_tensors_that_nobody_has_looked_at(tokens, conversations):
    weight = torch.rand(5) if conversations else torch.zeros(5)
    numbers = BatchTotals(tokens, conversations)
    unseen = BatchTotals(*torch.tensor([tokens, conversations], dtype=torch.float64))
    found = token_weights(weight, unseen, "sample")
    assert found.dtype == torch.float32
    assert torch.equal(found, token_weights(weight, numbers, "sample"))


# --- the schedule -----------------------------------------------------------------------------------------------------


def test_stage_starts_after_a_fraction_of_the_run():
    schedule = resolve_schedule([StageConfig("token"), StageConfig("sample", 0.5)], train_iters=60)
    assert schedule == Schedule((Stage("token", 0), Stage("sample", 30)))
    assert [schedule.average_at(done) for done in (0, 29, 30, 59)] == ["token", "token", "sample", "sample"]
    assert schedule.describe() == "token from iteration 1, sample from iteration 31"
    assert resolve_schedule([StageConfig("token", 0.0), StageConfig("sample", 0.5)], train_iters=60) == schedule


@pytest.mark.parametrize(
    ("train_iters", "described"),
    [
        (1, "token from iteration 1, sample never: the run is too short"),
        (2, "token from iteration 1, sample from iteration 2"),
        (3, "token from iteration 1, sample from iteration 3"),
    ],
)
def test_a_fraction_leaves_the_stage_before_an_iteration_and_may_come_too_late(train_iters, described):
    schedule = resolve_schedule([StageConfig("token"), StageConfig("sample", 0.5)], train_iters)
    assert schedule.describe() == described
    assert schedule.average_at(0) == "token"


def test_stage_starts_after_a_number_of_iterations():
    schedule = resolve_schedule([StageConfig("sample"), StageConfig("token", 7)], train_iters=10)
    assert [schedule.average_at(done) for done in (6, 7)] == ["sample", "token"]


# --- conversations of several sequences -------------------------------------------------------------------------------


def test_a_position_counts_by_its_whole_conversations_tokens_wherever_they_lie():
    """Two sequences; the first is a part of a conversation with 4 supervised tokens, 2 of them elsewhere."""
    mask = torch.tensor([0, 1, 1, 0, 1, 0])
    weights = conversation_weights(mask, torch.tensor([0, 3, 5, 6]), torch.tensor([4, 1]))
    assert weights.tolist() == [0, 0.25, 0.25, 0, 1, 0]
    # A batch fills packs up to its longest, while boundaries may be the pack's own (0.4 line).
    filled = conversation_weights(mask, torch.tensor([0, 3, 5, 6]), torch.tensor([4, 1, 0, 0, 0, 0, 0]))
    assert torch.equal(filled, weights)


@given(st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=4), min_size=1, max_size=5), st.randoms())
def test_over_all_its_sequences_a_conversation_counts_once_in_whatever_packs(conversations, random):
    """Each conversation is a list of sequences, given by their supervised tokens; each ends in a prompt's token."""
    sequences = [(n, sum(c)) for c in conversations if sum(c) for n in c if n]
    random.shuffle(sequences)
    total = 0.0
    for start in range(0, len(sequences), 3):
        pack = sequences[start : start + 3]
        mask = torch.tensor([bit for n, _ in pack for bit in [1] * n + [0]] + [0, 0])  # padding behind
        ends = torch.tensor([0, *(n + 1 for n, _ in pack)]).cumsum(0)
        boundaries = torch.cat([ends, torch.tensor([len(mask)] * 2)])
        targets = torch.tensor([whole for _, whole in pack] + [0])  # zeros fill up in a batch
        weights = conversation_weights(mask, boundaries, targets)
        assert ((weights > 0) == (mask > 0)).all()
        total += weights.double().sum().item()
    assert total == pytest.approx(sum(sum(c) > 0 for c in conversations))


def test_a_conversation_of_one_sequence_weighs_as_the_sequence():
    mask, boundaries = torch.tensor([0, 1, 1, 0, 1]), torch.tensor([0, 3, 5])
    whole = conversation_weights(mask, boundaries, torch.tensor([2, 1]))
    assert torch.equal(whole, sample_weights(mask, boundaries))
