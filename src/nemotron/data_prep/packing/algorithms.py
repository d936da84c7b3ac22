"""Choose which sequences share a pack of at most `pack_size` tokens.

Every algorithm uses only lengths and is nearly linear, so millions of sequences are packed in seconds for any pack
size. All are deterministic: the same lengths, capacity and seed give the same packs.

    first_fit_shuffle     shuffled order, each sequence into the first pack with room. Mixes lengths and datasets best.
    first_fit_decreasing  the same, longest first. Fuller packs, but long sequences meet only short ones.
    best_fit              longest first, each into the fullest pack with room.
    concatenative         given order, a new pack whenever the next sequence does not fit. No mixing at all.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import get_args

import numpy as np

from nemotron.data_prep.config import Algorithm


@dataclass(frozen=True)
class Packs:
    """Packs as two flat arrays.

    Pack `p` is `sequences[bounds[p]:bounds[p + 1]]`, in this order.
    """

    sequences: np.ndarray  # int32, indices into the lengths that were packed
    bounds: np.ndarray  # int64, one more than there are packs

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def __iter__(self) -> Iterator[np.ndarray]:
        for start, end in zip(self.bounds[:-1], self.bounds[1:], strict=True):
            yield self.sequences[start:end]


def pack(lengths: np.ndarray, capacity: int, algorithm: Algorithm = "first_fit_shuffle", seed: int = 0) -> Packs:
    """Distribute sequences over packs of at most `capacity` tokens.

    Every index of `lengths` is in exactly one pack. The packs are shuffled by `seed`, because the packs that an
    algorithm opens first are the fullest, and a trainer that reads in order should not see the fill decrease. `lengths`
    are in tokens, each in 1..capacity.

    Raises:
        ValueError: A length is outside that range; over-long sequences have to be handled before.
    """
    if len(lengths) == 0:
        return Packs(np.zeros(0, np.int32), np.zeros(1, np.int64))
    if lengths.min() < 1 or lengths.max() > capacity:
        raise ValueError(f"sequence lengths must be in 1..{capacity}, found {lengths.min()}..{lengths.max()}")
    rng = np.random.Generator(np.random.PCG64(seed))
    order, place = _strategy(algorithm, lengths, rng)
    numbers = np.fromiter(place(lengths[order], capacity), np.int32, len(lengths))
    return _group(numbers, order, rng)


def _strategy(
    algorithm: Algorithm, lengths: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, Callable[[np.ndarray, int], Iterator[int]]]:
    """Return the order in which an algorithm takes sequences, and its placement."""
    if algorithm == "concatenative":
        return np.arange(len(lengths), dtype=np.int32), next_fit
    shuffled = rng.permutation(len(lengths)).astype(np.int32)
    if algorithm == "first_fit_shuffle":
        return shuffled, first_fit
    # Shuffled before the stable sort, so that sequences of equal length are not grouped by dataset.
    decreasing = shuffled[np.argsort(-lengths[shuffled], kind="stable")]
    if algorithm == "first_fit_decreasing":
        return decreasing, first_fit
    if algorithm == "best_fit":
        return decreasing, best_fit
    raise ValueError(f"unknown packing algorithm {algorithm!r}, expected one of {', '.join(get_args(Algorithm))}")


def _group(placed: np.ndarray, order: np.ndarray, rng: np.random.Generator) -> Packs:
    """Collect the sequences of each pack in placement order, then shuffle the packs.

    `placed` [sequences] has the pack of each sequence in `order`.
    """
    count = int(placed.max()) + 1
    numbers = rng.permutation(count).astype(np.int32)[placed]
    by_pack = np.argsort(numbers, kind="stable")
    bounds = np.zeros(count + 1, dtype=np.int64)
    np.cumsum(np.bincount(numbers, minlength=count), out=bounds[1:])
    return Packs(order[by_pack], bounds)


def _numbers(lengths: np.ndarray) -> Iterator[int]:
    """Yield the elements as Python integers, a few at a time.

    Converting all of them at once takes ten times the array's memory.
    """
    for first in range(0, len(lengths), 4096):
        yield from lengths[first : first + 4096].tolist()


def next_fit(lengths: np.ndarray, capacity: int) -> Iterator[int]:
    """Yield the pack of each sequence if only the newest pack is open."""
    pack_number, free = 0, capacity
    for length in _numbers(lengths):
        if length > free:
            pack_number, free = pack_number + 1, capacity
        free -= length
        yield pack_number


def first_fit(lengths: np.ndarray, capacity: int) -> Iterator[int]:
    """Return the pack of each sequence: the lowest-numbered pack with room.

    A segment tree over packs has the largest free room below every node, so a search and an update are each one walk
    between root and leaf: O(n log n) in total. Packs that are not open yet count as empty.
    """
    # All packs but one are more than half full: with two half-empty packs, the second would not have been opened.
    most_packs = min(len(lengths), 2 * int(lengths.sum(dtype=np.int64)) // capacity + 1)
    leaves = 1 << max(1, most_packs - 1).bit_length()
    free = [capacity] * (2 * leaves)
    for length in _numbers(lengths):
        node = 1
        while node < leaves:
            node *= 2
            if free[node] < length:
                node += 1
        yield node - leaves
        room = free[node] = free[node] - length
        while node > 1:
            sibling = free[node ^ 1]
            if sibling > room:
                room = sibling
            node >>= 1
            if free[node] == room:
                break
            free[node] = room


def best_fit(lengths: np.ndarray, capacity: int) -> Iterator[int]:
    """Yield the pack of each sequence: the open pack that it fills best.

    Ties go to the oldest pack. Open packs are stored by their free room. The rooms in use are set bits in integers of
    512 bits, and another integer says which of these are not zero, so the smallest room that fits is found with two
    shifts and a lowest set bit.
    """
    word_bits = 512
    words = [0] * (capacity // word_bits + 1)
    used_words = 0
    packs_with_room: dict[int, list[int]] = {}
    opened = 0
    for length in _numbers(lengths):
        word, bit = divmod(length, word_bits)
        fitting = words[word] >> bit
        if fitting:
            room = length + _lowest_set_bit(fitting)
        elif later := used_words >> (word + 1):
            word += 1 + _lowest_set_bit(later)
            room = word * word_bits + _lowest_set_bit(words[word])
        else:
            room = 0
        if room:
            candidates = packs_with_room[room]
            chosen = heappop(candidates)
            if not candidates:
                del packs_with_room[room]
                words[word] ^= 1 << (room % word_bits)
                if not words[word]:
                    used_words ^= 1 << word
        else:
            chosen, room = opened, capacity
            opened += 1
        yield chosen
        left = room - length
        if left:
            heappush(packs_with_room.setdefault(left, []), chosen)
            words[left // word_bits] |= 1 << (left % word_bits)
            used_words |= 1 << (left // word_bits)


def _lowest_set_bit(number: int) -> int:
    return (number & -number).bit_length() - 1
