"""The order of packs that the 0.4 line is given, also against the sampler of the 0.6 line."""

from itertools import islice

import pytest

from nemotron.training import cpu
from nemotron.training.bridge.pack_order import EpochOrder


class Packs(list):
    collate_fn = None


def test_every_epoch_has_its_own_order_of_the_packs_that_fill_batches():
    def order(first, last):
        rows = EpochOrder(Packs(range(103)), rows=300, global_batch_size=10, seed=1234)
        return [rows[row] for row in range(first, last)]

    one, two = order(0, 100), order(100, 200)
    assert len(set(one)) == len(set(two)) == 100
    assert one != two
    assert set(one) != set(two)  # what is left out in one is not in the other
    assert order(150, 250) == [*two[50:], *order(200, 250)]  # wherever a run goes on


@pytest.mark.megatron
@pytest.mark.parametrize(("packs", "batch", "consumed"), [(10, 4, 0), (10, 4, 4), (10, 4, 12), (9, 3, 15)])
def test_both_lines_train_on_the_same_packs_in_the_same_order(packs, batch, consumed):
    with cpu.backend():
        from megatron.bridge.data.loaders import cyclic_iter
        from megatron.bridge.data.samplers import MegatronPretrainingBatchSampler

    sampler = MegatronPretrainingBatchSampler(
        total_samples=packs,
        consumed_samples=consumed,
        micro_batch_size=1,
        global_batch_size=batch,
        data_parallel_rank=0,
        data_parallel_size=1,
        seed=1234,
    )
    expected = list(islice(cyclic_iter(sampler), 7))
    order = EpochOrder(Packs(range(packs)), rows=consumed + 7 * batch, global_batch_size=batch, seed=1234)
    rows = [order[row] for row in range(consumed, len(order))]
    assert [rows[start : start + batch] for start in range(0, len(rows), batch)] == expected
