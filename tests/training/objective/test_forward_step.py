"""The step on small packs, against the two formulas of loss.py worked out conversation by conversation."""

from types import SimpleNamespace

import pytest
import torch
from tests.training.objective.conftest import DATA_PARALLEL

from nemotron.training.objective.forward_step import TwoStageStep
from nemotron.training.objective.loss import BatchTotals, Schedule, Stage
from nemotron.training.objective.mtp import MtpMeasure

BOTH_STAGES = Schedule((Stage("token", 0), Stage("sample", 10)))

# Two micro-batches of this rank and one of another: packs of conversations of (loss, is supervised).
FIRST = [[(1.0, False), (2.0, True), (4.0, True)], [(3.0, True)]]
SECOND = [[(5.0, False)], [(0.5, True), (9.0, False), (1.5, True), (2.5, True), (7.0, True)]]
OTHERS = [[(6.0, True), (8.0, True)]]


def pack(conversations):
    """One micro-batch as the collator makes it: losses and mask [1, tokens], boundaries [conversations + 1]."""
    positions = [position for conversation in conversations for position in conversation]
    lengths = [len(conversation) for conversation in conversations]
    return {
        "tokens": torch.full((1, len(positions)), 9),
        "token_count": [len(positions)],
        "losses": torch.tensor([[loss for loss, _ in positions]]),
        "loss_mask": torch.tensor([[int(supervised) for _, supervised in positions]]),
        "boundaries": torch.tensor([0, *lengths]).cumsum(0).int(),
    }


def pack_of_parts(conversations, wholes):
    """The same, with the supervised tokens of the whole conversation of each; zeros fill up."""
    return {**pack(conversations), "conversation_targets": torch.tensor([[*wholes, 0]], dtype=torch.int32)}


def supervised(*packs):
    """The supervised losses of each conversation that has any."""
    conversations = [
        [loss for loss, is_supervised in c if is_supervised] for conversations in packs for c in conversations
    ]
    return [losses for losses in conversations if losses]


def tokens_in(*packs):
    return sum(len(losses) for losses in supervised(*packs))


def state_at(finished):
    """As much of Megatron-Bridge's GlobalState as the step reads."""
    timer = SimpleNamespace(start=lambda: None, stop=lambda: None)
    checks = SimpleNamespace(check_for_nan_in_loss=True, check_for_spiky_loss=False)
    return SimpleNamespace(
        timers=lambda name, log_level=0: timer,
        train_state=SimpleNamespace(step=finished),
        cfg=SimpleNamespace(rerun_state_machine=checks),
        tokenizer=SimpleNamespace(eos_id=5, pad_id=None),
    )


@pytest.fixture(autouse=True)
def all_reduces(megatron, monkeypatch):
    """Another data-parallel rank that holds OTHERS; the list grows by one with every sum over the group."""
    calls = []

    def all_reduce(counts, group):
        assert group is DATA_PARALLEL
        calls.append(counts.clone())
        counts += torch.tensor([tokens_in(OTHERS), len(supervised(OTHERS))])

    monkeypatch.setattr(torch.distributed, "all_reduce", all_reduce)
    return calls


def run(step, model, packs, finished=0):
    """(loss, tokens, report) of each micro-batch of one step on this rank."""
    iterator, results = iter([pack(conversations) for conversations in packs]), []
    for _ in packs:
        output, loss_function = step(state_at(finished), iterator, model)
        results.append(loss_function(output))
    return results


def test_in_the_token_stage_every_supervised_token_of_the_batch_counts_alike(make_model):
    results = run(TwoStageStep(BOTH_STAGES), make_model(), [FIRST, SECOND])
    assert [loss.item() for loss, _, _ in results] == [2 + 4 + 3, 0.5 + 1.5 + 2.5 + 7]
    assert [tokens.item() for _, tokens, _ in results] == [3, 4]


def test_in_the_sample_stage_every_conversation_of_the_batch_counts_alike(make_model):
    """Megatron divides the sum of all ranks by N; each conversation's mean then has the weight 1/|B|."""
    results = run(TwoStageStep(BOTH_STAGES), make_model(), [FIRST, SECOND], finished=10)
    n, b = tokens_in(FIRST, SECOND, OTHERS), len(supervised(FIRST, SECOND, OTHERS))
    assert (n, b) == (9, 4)
    for (loss, _, _), conversations in zip(results, (FIRST, SECOND), strict=True):
        expected = sum(sum(losses) / len(losses) for losses in supervised(conversations)) / b
        assert loss.item() / n == pytest.approx(expected)
    # The denominator stays the number of tokens: MTP and the auxiliary loss share the gradient buffer.
    assert [tokens.item() for _, tokens, _ in results] == [3, 4]


@pytest.mark.parametrize(("finished", "average"), [(0, "token"), (9, "token"), (10, "sample"), (500, "sample")])
def test_the_stage_follows_from_the_finished_iterations(make_model, finished, average):
    step = TwoStageStep(BOTH_STAGES)
    run(step, make_model(), [FIRST], finished)
    assert step.average == average


def test_the_totals_are_those_of_all_ranks_summed_once_a_step(make_model, all_reduces):
    step, model = TwoStageStep(BOTH_STAGES), make_model()
    run(step, model, [FIRST, SECOND])
    assert [counts.tolist() for counts in all_reduces] == [[7, 3]]
    assert (step.totals.supervised_tokens, step.totals.conversations) == (9, 4)
    assert step.own_tokens == 7
    run(step, model, [FIRST])
    assert [counts.tolist() for counts in all_reduces] == [[7, 3], [3, 2]]
    assert (step.totals.supervised_tokens, step.totals.conversations) == (5, 3)


def test_the_totals_are_counted_in_float64_and_sent_without_waiting_for_the_gpu(make_model, all_reduces, monkeypatch):
    """Above 16.7 million tokens float32 no longer counts; and whoever waits for the GPU stops it."""
    sent = []
    monkeypatch.setattr(torch.Tensor, "cuda", lambda counts, **options: sent.append(options) or counts)
    run(TwoStageStep(BOTH_STAGES), make_model(), [FIRST])
    assert [counts.dtype for counts in all_reduces] == [torch.float64]
    assert sent == [{"non_blocking": True}]


@pytest.mark.parametrize("tokens", [3, 7, 41])
def test_sequences_are_whole_numbers_although_their_weights_are_not(make_model, tokens):
    step = TwoStageStep(BOTH_STAGES)
    run(step, make_model(), [[[(1.0, True)] * tokens]])
    assert float(step.totals.conversations) == 1 + len(supervised(OTHERS))


def test_reading_is_timed_as_in_megatrons_own_step(make_model, line, monkeypatch):
    events, state, read = [], state_at(0), line.read_micro_batch

    def timers(name, log_level=None):
        return SimpleNamespace(
            start=lambda: events.append((name, "start", log_level)), stop=lambda: events.append((name, "stop"))
        )

    state.timers = timers
    monkeypatch.setattr(line, "read_micro_batch", lambda *arguments: events.append("read") or read(*arguments))
    TwoStageStep(BOTH_STAGES)(state, iter([pack(FIRST)]), make_model())
    assert events == [("batch-generator", "start", 2), "read", ("batch-generator", "stop")]


def test_model_chunks_read_micro_batches_of_their_own(make_model, all_reduces):
    """Virtual pipeline stages take turns; one's iterator must not be taken for the other's."""
    step, chunks = TwoStageStep(BOTH_STAGES), [make_model(chunk=0), make_model(chunk=1)]
    iterators = [iter([pack(FIRST), pack(SECOND)]) for _ in chunks]
    for _ in range(2):
        for model, iterator in zip(chunks, iterators, strict=True):
            step(state_at(0), iterator, model)
    assert len(all_reduces) == len(chunks)
    assert [len(model.masks) for model in chunks] == [2, 2]


@pytest.mark.parametrize("finished", [0, 10])
def test_the_model_gets_the_supervised_positions_for_mtp(make_model, finished):
    """0 or 1 in either stage: MTP trains per token, and never on prompts."""
    model = make_model()
    run(TwoStageStep(BOTH_STAGES), model, [FIRST, SECOND], finished)
    assert [mask.tolist() for mask in model.masks] == [[[0, 1, 1, 1]], [[0, 1, 0, 1, 1, 1]]]


def test_a_pipeline_stage_without_data_takes_part_in_nothing(make_model, all_reduces):
    step, model = TwoStageStep(BOTH_STAGES), make_model()
    step(state_at(0), None, model)
    assert model.masks == [None]
    assert not all_reduces
    assert (step.totals, step.average, step.own_tokens, step.skipped) == (BatchTotals(0, 0), "token", 0, 0)


def test_both_averages_are_reported_as_sums_and_counts_in_either_stage(make_model):
    for finished in (0, 10):
        [(loss, _, report)] = run(TwoStageStep(BOTH_STAGES), make_model(), [FIRST], finished)
        assert report["lm loss"].tolist() == [loss.item(), 3]
        assert report["token loss"].tolist() == [9, 3]
        assert report["sample loss"].tolist() == [(2 + 4) / 2 + 3, 2]


def test_mtp_is_reported_for_each_depth_weighted_by_tokens(make_model):
    results = run(TwoStageStep(BOTH_STAGES), make_model(depths=2), [FIRST, SECOND])
    means = [9 / 3, 11.5 / 4]
    for (_, _, report), mean, tokens in zip(results, means, (3, 4), strict=True):
        for depth in (1, 2):
            assert report[f"mtp depth {depth} loss"].tolist() == pytest.approx([depth * mean * tokens, tokens])
            assert report[f"mtp depth {depth} acceptance"].tolist() == [depth, 10 * depth]


def test_without_mtp_none_is_reported(make_model):
    [(_, _, report)] = run(TwoStageStep(BOTH_STAGES), make_model(), [FIRST])
    assert list(report) == ["lm loss", "token loss", "sample loss"]


def test_a_line_that_counts_no_acceptance_reports_losses_alone(make_model):
    step = TwoStageStep(BOTH_STAGES)
    run(step, make_model(), [FIRST])
    measured = MtpMeasure(losses=torch.tensor([2.0]))
    _, _, report = step._loss(state_at(0), torch.tensor([[1.0, 0.0, 0.5]]), measured, torch.ones(1, 3))
    assert report["mtp depth 1 loss"].tolist() == [4, 2]
    assert "mtp depth 1 acceptance" not in report


def test_a_batch_without_supervised_tokens_trains_nothing(make_model, monkeypatch):
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda counts, group: None)
    for finished in (0, 10):
        [(loss, tokens, _)] = run(TwoStageStep(BOTH_STAGES), make_model(), [[[(1.0, False), (2.0, False)]]], finished)
        assert (loss.item(), tokens.item()) == (0, 0)


def test_a_micro_batch_of_two_packs_is_refused(make_model):
    one = pack(FIRST)
    two = {name: torch.cat([value, value]) for name, value in one.items() if isinstance(value, torch.Tensor)}
    with pytest.raises(ValueError, match=r"2 packs.*train\.micro_batch_size"):
        TwoStageStep(BOTH_STAGES)(state_at(0), iter([two]), make_model())


@pytest.fixture
def seen(line, monkeypatch):
    """The padding of each pack that the release line was handed."""
    seen = []
    read = line.read_micro_batch

    def note_padding(state, micro_batches, model, groups):
        batch = next(micro_batches)
        seen.append(batch["padding"].tolist())
        return read(state, iter([batch]), model, groups)

    monkeypatch.setattr(line, "read_micro_batch", note_padding)
    return seen


def test_the_positions_that_only_fill_up_are_named_for_the_experts(make_model, seen):
    """A pack of two positions of text in one of five, padded with the end-of-turn token."""
    padded = pack([[(1.0, True), (2.0, True)], [(0.0, False)] * 3]) | {"token_count": [2]}
    TwoStageStep(BOTH_STAGES)(state_at(0), iter([padded]), make_model())
    assert seen == [[[False, False, True, True, True]]]


def test_a_schedule_plan_is_refused(make_model):
    with pytest.raises(NotImplementedError, match=r"model\.overlap_moe_expert_parallel_comm"):
        TwoStageStep(BOTH_STAGES)(state_at(0), iter([pack(FIRST)]), make_model(), return_schedule_plan=True)


def test_by_conversation_each_sequence_counts_by_its_share_of_the_conversation(make_model, monkeypatch):
    """FIRST: 2 tokens of 6, and a conversation of one; SECOND: none, and 4 of 8."""
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda counts, group: None)
    step, model = TwoStageStep(BOTH_STAGES, sample_unit="conversation"), make_model()
    iterator, results = iter([pack_of_parts(FIRST, [6, 1]), pack_of_parts(SECOND, [9, 8])]), []
    for _ in range(2):
        output, loss_function = step(state_at(10), iterator, model)
        results.append(loss_function(output))
    _, tokens, report = results[1]
    n, w = 7, 1 / 3 + 1 + 1 / 2
    assert step.totals.supervised_tokens == n
    assert float(step.totals.conversations) == pytest.approx(w, rel=1e-6)
    expected = [(1 / 3 * (2 + 4) / 2 + 3) / w, 1 / 2 * (0.5 + 1.5 + 2.5 + 7) / 4 / w]
    assert [loss.item() / n for loss, _, _ in results] == pytest.approx(expected, rel=1e-6)
    assert report["sample loss"].tolist() == pytest.approx([11.5 / 8, 1 / 2])
    # MTP still gets 0 or 1, and gradients are divided by tokens.
    assert [mask.tolist() for mask in model.masks] == [[[0, 1, 1, 1]], [[0, 1, 0, 1, 1, 1]]]
    assert tokens == 4


def test_the_column_of_conversations_is_not_handed_to_megatron(make_model, line, monkeypatch):
    """Its own functions for batches cut and send every tensor that they are given."""
    handed, read = [], line.read_micro_batch

    def note(state, micro_batches, model, groups):
        handed.append(next(micro_batches))
        return read(state, iter(handed), model, groups)

    monkeypatch.setattr(line, "read_micro_batch", note)
    step = TwoStageStep(BOTH_STAGES, sample_unit="conversation")
    step(state_at(0), iter([pack_of_parts(FIRST, [6, 1])]), make_model())
    assert handed[0].keys() - pack(FIRST).keys() == {"padding"}


def test_by_conversation_data_without_the_column_is_an_error(make_model):
    with pytest.raises(KeyError, match="conversation_targets"):
        run(TwoStageStep(BOTH_STAGES, sample_unit="conversation"), make_model(), [FIRST])


@pytest.mark.parametrize("name", ["eos_id", "pad_id"])
def test_either_of_a_tokenizers_ids_pads(make_model, seen, name):
    """Megatron-Bridge pads packs with eos, and the sequences in them with pad. Nine pads here, and five does not."""
    state = state_at(0)
    state.tokenizer = SimpleNamespace(**{"eos_id": 5, "pad_id": 5, name: 9})
    padded = pack([[(1.0, True), (2.0, False), (0.0, False)]])
    TwoStageStep(BOTH_STAGES, pads_conversations=True)(state, iter([padded]), make_model())
    state.tokenizer = SimpleNamespace(eos_id=5)  # some tokenizers have no token for it
    TwoStageStep(BOTH_STAGES, pads_conversations=True)(state, iter([padded]), make_model())
    with_pad, without = (row for [row] in seen)
    assert any(with_pad)
    assert not any(without)
