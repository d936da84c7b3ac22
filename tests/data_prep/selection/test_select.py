"""Selection and over-long sequences, on a corpus built by hand."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nemotron.data_prep.config import OverlongPolicy
from nemotron.data_prep.drop_reasons import LeftOut
from nemotron.data_prep.part_index import PartIndex
from nemotron.data_prep.selection.corpus import Corpus, load_corpus
from nemotron.data_prep.selection.overlong import cut_overlong, find_limit_keeping
from nemotron.data_prep.selection.select import OUTCOMES, Selection, _count_before, select
from nemotron.data_prep.sources.blend import Dataset
from nemotron.data_prep.tokenization.part_files import PartWriter, write_part
from nemotron.errors import UserError

EOS = 999
TRAIN_ONLY = (1.0, 0.0, 0.0)
Turns = list[tuple[int, int]]
"""A sequence as (prompt tokens, answer tokens) per turn."""


def make_corpus(folder: Path, datasets: Sequence[Sequence[tuple[int, list[Turns]]]]) -> Corpus:
    """One part per dataset; a conversation is (content hash, sequences)."""
    parts, receipts = [], []
    for number, conversations in enumerate(datasets):
        sequences = [turns for _, several in conversations for turns in several]
        ends = [np.cumsum([prompt + answer for prompt, answer in turns]) for turns in sequences]
        targets = [np.cumsum([answer for _, answer in turns]) for turns in sequences]
        index = PartIndex(
            lines=np.arange(len(conversations)),
            hashes=np.array([(hash, hash) for hash, _ in conversations], np.uint64).reshape(-1, 2),
            modes=np.zeros(len(conversations), np.int64),
            sequence_counts=np.array([len(several) for _, several in conversations], np.int64),
            masked_counts=np.zeros(len(conversations), np.int64),
            history_lengths=np.zeros(len(conversations), np.int64),
            lengths=np.array([end[-1] for end in ends], np.int64),
            shared_lengths=np.zeros(len(sequences), np.int64),
            targets=np.array([count[-1] for count in targets], np.int64),
            turn_counts=np.array([len(turns) for turns in sequences], np.int64),
            turn_ends=np.concatenate(ends),
            turn_targets=np.concatenate(targets),
        )
        mask = np.concatenate([np.repeat([0, 1], turn) for turns in sequences for turn in turns])

        def fill(writer: PartWriter, mask=mask, index=index) -> None:
            writer.append(np.ones(len(mask), np.int32), mask, index)

        receipts.append(write_part(folder / f"part_{number}", fill))
        parts.append(folder / f"part_{number}")
    return load_corpus(parts, receipts, range(len(datasets)))


def choose(corpus: Corpus, datasets: Sequence[Dataset], limit: int = 1000, **settings) -> Selection:
    defaults = {"ratios": TRAIN_ONLY, "dedupe": False, "sample": None, "sample_seed": 0, "seed": 0}
    cut = cut_overlong(corpus, limit, "split_turns", EOS)
    return select(corpus, cut, datasets, **{**defaults, **settings})


def reasons(selection: Selection) -> list[LeftOut | None]:
    return [OUTCOMES[code] for code in selection.outcome]


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    """Two conversations: one of three turns ending at 10, 30 and 60 tokens; one of two sequences."""
    return make_corpus(tmp_path, [[(1, [[(5, 5), (10, 10), (10, 20)]]), (2, [[(5, 5)], [(30, 20)]])]])


def test_split_turns_ends_with_the_last_answer_that_fits(corpus: Corpus) -> None:
    cut = cut_overlong(corpus, 49, "split_turns", EOS)
    assert cut.length.tolist() == [30, 10, 0]
    assert cut.targets.tolist() == [15, 5, 0]


def test_an_answer_that_just_fits_is_kept(corpus: Corpus) -> None:
    assert cut_overlong(corpus, 30, "split_turns", EOS).length.tolist() == [30, 10, 0]
    assert cut_overlong(corpus, 29, "split_turns", EOS).length.tolist() == [10, 10, 0]
    assert cut_overlong(corpus, 9, "split_turns", EOS).length.tolist() == [0, 0, 0]


def test_truncate_cuts_inside_an_answer(corpus: Corpus) -> None:
    cut = cut_overlong(corpus, 45, "truncate", EOS)
    assert cut.length.tolist() == [45, 10, 45]
    assert cut.targets.tolist() == [20, 5, 15]


def test_truncate_keeps_nothing_where_no_answer_has_begun(corpus: Corpus) -> None:
    assert cut_overlong(corpus, 20, "truncate", EOS).length.tolist() == [20, 10, 0]


def test_drop_takes_the_whole_conversation(corpus: Corpus) -> None:
    assert cut_overlong(corpus, 55, "drop", EOS).length.tolist() == [0, 10, 50]
    assert cut_overlong(corpus, 45, "drop", EOS).length.tolist() == [0, 0, 0]


def test_sequences_are_cut_in_the_part_that_they_are_in(tmp_path: Path) -> None:
    long, short = [(5, 5), (10, 10), (10, 20)], [(4, 3)]
    corpus = make_corpus(tmp_path, [[(1, [short])], [(2, [short, long]), (3, [long])], [(4, [[(2, 40)], short])]])
    turns, rest = (cut_overlong(corpus, 41, policy, EOS) for policy in ("split_turns", "truncate"))
    assert turns.length.tolist() == [7, 7, 30, 30, 0, 7]
    assert turns.targets.tolist() == [3, 3, 15, 15, 0, 3]
    assert rest.length.tolist() == [7, 7, 41, 41, 41, 7]
    assert rest.targets.tolist() == [3, 3, 16, 16, 39, 3]


@pytest.mark.parametrize("policy", ["split_turns", "truncate", "drop"])
def test_a_sequence_of_exactly_the_limit_is_not_too_long(tmp_path: Path, policy: OverlongPolicy) -> None:
    """Its last turn is not the end of it, so that a policy that cut here would be seen."""
    corpus = make_corpus(tmp_path, [[(1, [[(5, 5), (10, 10), (3, 0)]])]])
    assert cut_overlong(corpus, 33, policy, EOS).length.tolist() == [33]


def test_the_limit_that_keeps_a_share(corpus: Corpus) -> None:
    # Targets by where they end: 5 + 5 at 10, 10 at 30, 20 at 50, 20 at 60; 60 in all.
    everything = np.ones(3, bool)
    assert [find_limit_keeping(corpus, share, everything) for share in (0.1, 0.3, 0.6, 0.99)] == [10, 30, 50, 60]
    assert find_limit_keeping(corpus, 0.99, np.array([False, True, True])) == 50


def test_the_limit_that_keeps_a_share_is_found_over_all_parts(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path, [[(1, [[(5, 5), (80, 10)]])], [(2, [[(20, 10)]]), (3, [[(30, 5)]])]])
    limits = [find_limit_keeping(corpus, share, np.ones(3, bool)) for share in (5 / 30, 0.5, 0.6, 1)]
    assert limits == [10, 30, 35, 100]


@settings(max_examples=30)
@given(
    turns=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=6), limit=st.integers(1, 60)
)
def test_split_turns_keeps_the_most_whole_turns(
    tmp_path_factory: pytest.TempPathFactory, turns: Turns, limit: int
) -> None:
    corpus = make_corpus(tmp_path_factory.mktemp("corpus"), [[(1, [turns])]])
    fitting = [n for n in range(len(turns) + 1) if sum(map(sum, turns[:n])) <= limit]
    kept = turns[: max(fitting)]
    cut = cut_overlong(corpus, limit, "split_turns", EOS)
    assert cut.length.tolist() == [sum(map(sum, kept))]
    assert cut.targets.tolist() == [sum(answer for _, answer in kept)]


def test_a_conversation_goes_when_none_of_its_turns_fits(corpus: Corpus) -> None:
    assert reasons(choose(corpus, [Dataset("a", "")], limit=9)) == [LeftOut.OVERLONG] * 2
    assert reasons(choose(corpus, [Dataset("a", "")], limit=10)) == [None, None]


ONE_TURN: list[Turns] = [[(2, 2)]]


def test_dedupe_keeps_the_first_across_datasets(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path, [[(1, ONE_TURN), (2, ONE_TURN), (1, ONE_TURN)], [(2, ONE_TURN), (3, ONE_TURN)]])
    datasets = [Dataset("a", ""), Dataset("b", "")]
    counted = choose(corpus, datasets)
    assert counted.kept.all()
    assert counted.duplicates.tolist() == [False, False, True, True, False]
    duplicate = LeftOut.DUPLICATE
    assert reasons(choose(corpus, datasets, dedupe=True)) == [None, None, duplicate, duplicate, None]


def test_dedupe_keeps_the_first_that_fits(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path, [[(1, [[(5, 5)]]), (1, ONE_TURN), (1, ONE_TURN)]])
    assert reasons(choose(corpus, [Dataset("a", "")], limit=4, dedupe=True)) == [
        LeftOut.OVERLONG, None, LeftOut.DUPLICATE,
    ]  # fmt: skip


def test_contents_are_the_same_if_all_of_their_hashes_is(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path, [[(1, ONE_TURN)] * 5])
    hashes = np.array([(1, 1), (1, 2), (2, 1), (2, 2), (1, 2)], np.uint64)
    selection = choose(replace(corpus, hash=hashes), [Dataset("a", "")], dedupe=True)
    assert selection.duplicates.tolist() == [False, False, False, False, True]


def numbered(count: int, first: int = 0) -> list[tuple[int, list[Turns]]]:
    """Conversations with different hashes spread over all 64 bits."""
    return [((first + i + 1) * 0x9E3779B97F4A7C15 % 2**64, ONE_TURN) for i in range(count)]


def test_a_sample_is_taken_per_dataset_by_seed_not_from_the_head(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path, [numbered(50), numbered(3, first=50)])
    datasets = [Dataset("a", ""), Dataset("b", "")]
    first, again, other = (choose(corpus, datasets, sample=10, sample_seed=seed).kept for seed in (1, 1, 2))
    assert (first[:50].sum(), first[50:].sum()) == (10, 3)
    assert first.tolist() == again.tolist() != other.tolist()
    assert not first[:10].all()


def test_the_seed_of_the_mix_is_not_that_of_the_sample(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path, [numbered(40), numbered(20, first=40)])
    datasets = [Dataset("a", "", weight=1), Dataset("b", "", weight=1)]

    def kept(**settings: int) -> list[bool]:
        return choose(corpus, datasets, **settings).kept.tolist()

    assert kept(seed=1) == kept(seed=1, sample_seed=2) != kept(seed=2)
    assert kept(sample=10, seed=1) == kept(sample=10, seed=2) != kept(sample=10, sample_seed=1)


def test_a_conversation_is_chosen_by_the_first_half_of_its_hash(tmp_path: Path) -> None:
    """The second half only tells conversations apart."""
    corpus = make_corpus(tmp_path, [numbered(40), numbered(20, first=40)])
    other = replace(corpus, hash=np.stack([corpus.hash[:, 0], np.arange(60, dtype=np.uint64)], axis=1))
    datasets = [Dataset("a", "", weight=1), Dataset("b", "", weight=1)]
    several: list[dict[str, Any]] = [{"sample": 10}, {"samples": 20}, {"ratios": (0.5, 0.2, 0.3)}]
    for asked in several:
        one, two = (choose(of, datasets, **asked) for of in (corpus, other))
        assert one.kept.tolist() == two.kept.tolist()
        assert one.split.tolist() == two.split.tolist()


def test_weights_set_the_shares(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path, [numbered(60), numbered(20, first=60)])
    selection = choose(corpus, [Dataset("a", "", weight=1), Dataset("b", "", weight=0.5)])
    assert (selection.kept[:60].sum(), selection.kept[60:].sum()) == (40, 20)
    assert reasons(selection).count(LeftOut.BLEND_WEIGHT) == 20


def test_a_dataset_that_may_repeat_is_used_as_often_as_its_share_takes(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path, [numbered(50), numbered(20, first=50)])
    selection = choose(corpus, [Dataset("a", "", weight=1), Dataset("b", "", weight=1, repeat=True)])
    assert selection.kept.all()
    assert selection.copies[:50].tolist() == [1] * 50
    assert sorted(selection.copies[50:].tolist()) == [2] * 10 + [3] * 10


def test_what_is_not_kept_has_no_copies(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path, [numbered(50), numbered(20, first=50)])
    selection = choose(corpus, [Dataset("a", "", weight=1), Dataset("b", "", weight=1)], samples=30)
    assert (selection.copies > 0).tolist() == selection.kept.tolist()
    assert (selection.copies[:50].sum(), selection.copies[50:].sum()) == (15, 15)


def test_samples_beyond_what_is_there_need_leave_to_repeat(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path, [numbered(50), numbered(20, first=50)])
    with pytest.raises(UserError) as error:
        choose(corpus, [Dataset("a", "", weight=1), Dataset("b", "", weight=1)], samples=60)
    assert re.search(r'blend\.samples=60 .*\b30\b.*"b".*\b20\b', error.value.message)
    assert re.search(r"blend\.samples.*\b40\b", error.value.hint or "")


def test_samples_are_those_of_the_training_split(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path, [numbered(50), numbered(20, first=50)])
    datasets = [Dataset("a", "", goes_to="train"), Dataset("b", "", goes_to="valid")]
    selection = choose(corpus, datasets, samples=30)
    assert (selection.copies[:50].sum(), selection.copies[50:].sum()) == (30, 20)


def test_a_sample_has_as_many_of_every_dataset_whatever_the_weights(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path, [numbered(20), numbered(20, first=20)])
    selection = choose(corpus, [Dataset("a", "", weight=9), Dataset("b", "", weight=1)], sample=5)
    assert (selection.kept[:20].sum(), selection.kept[20:].sum()) == (5, 5)


def test_the_mix_does_not_prefer_a_split(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path, [numbered(4000), numbered(1000, first=4000)])
    datasets = [Dataset("a", "", weight=1), Dataset("b", "", weight=1)]
    selection = choose(corpus, datasets, ratios=(0.5, 0.25, 0.25))
    shares = np.bincount(selection.split[:4000][selection.kept[:4000]], minlength=3) / 1000
    assert shares == pytest.approx([0.5, 0.25, 0.25], abs=0.07)


def test_a_conversation_listed_for_two_splits_stays_in_the_later_one(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path, [[(1, ONE_TURN), (2, ONE_TURN)], [(2, ONE_TURN)]])
    selection = choose(corpus, [Dataset("a", "", goes_to="train"), Dataset("b", "", goes_to="test")])
    assert reasons(selection) == [None, LeftOut.IN_ANOTHER_SPLIT, None]
    assert selection.split[selection.kept].tolist() == [0, 2]


def test_a_share_of_the_blend_is_not_filled_with_copies_of_one_conversation(tmp_path: Path) -> None:
    # 20 conversations, each 50 times, against 50 different ones.
    copied = [(hash, [[(2, 2)]]) for hash in range(1, 21) for _ in range(50)]
    different = [(hash, [[(2, 2)]]) for hash in range(101, 151)]
    corpus = make_corpus(tmp_path, [copied, different])
    selection = choose(corpus, [Dataset("copied", "a", weight=1), Dataset("different", "b", weight=1)])
    used = corpus.hash[selection.kept & (corpus.dataset == 0), 0]
    assert len(used) == 50
    assert len(set(used.tolist())) > 10


def test_a_sample_is_of_conversations_however_many_sequences_they_have(tmp_path: Path) -> None:
    several = [[(5, 5)], [(6, 6)]]
    corpus = make_corpus(tmp_path, [[(first + n, several) for n in range(4)] for first in (0, 10)])
    selection = choose(corpus, [Dataset("a", "a"), Dataset("b", "b")], sample=3)
    chosen = np.array([reason is None for reason in reasons(selection)])
    assert (chosen[:4].sum(), chosen[4:].sum()) == (3, 3)


def test_copies_are_numbered_in_the_order_of_the_plan() -> None:
    assert _count_before(np.array([0, 1, 0, 3, 0, 1])).tolist() == [0, 0, 1, 0, 2, 1]
    assert _count_before(np.array([0, 1, 2] * 300)).tolist() == [number // 3 for number in range(900)]
