"""A small global batch, written as data prep writes one, that can be divided into 8, 4, 2 or 1 packs.

Conversations alternate prompts, which are not trained, and answers, which are. On purpose some are shorter than Mamba's
convolution and some longer than a chunk of its scan, some have no answer, some have one supervised token and nothing
behind it for MTP to predict, and in one pack nothing is supervised.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch

EOS = 5
"""`<|im_end|>` in the bundled tokenizer: ends every answer, and pads packs."""

# Tokens of prompt, answer, prompt, answer, ... of each conversation; one list for each of 8 packs of up to 192 tokens.
TURNS: list[list[tuple[int, ...]]] = [
    [(9, 12), (4, 30, 6, 11), (40, 25), (2, 1)],
    [(55, 95)],
    [(3, 2), (17,), (20, 40, 20, 40), (1, 1)],
    [(30, 30), (5, 7, 9, 11, 13, 15)],
    [(100, 3), (2, 60)],
    [(70,), (45,)],  # nothing supervised
    [(1, 3), (2, 2), (3, 1), (8, 8), (21, 34), (10, 20)],
    [(6, 150)],
]
PARTS = [(0, 4, 15), (5, 21), (9, 10), (11, 16, 17)]
"""Of the 22 sequences, counted through: those that are of one conversation, in one pack or in several. All others are
conversations by themselves. Each is written below as a `Conversation`, as attention has it."""
ELSEWHERE = {5: 40, 12: 7}
"""Supervised tokens that further sequences of the conversation of such a one have, in other batches."""
PACK_SIZE = 192
PAD_MULTIPLE = 8
"""What context parallelism over four ranks asks of every conversation."""


@dataclass(frozen=True)
class Conversation:
    """Token ids, and which of them an answer is trained on."""

    ids: list[int]
    supervised: list[bool]
    padding: int = 0
    """Tokens at the end that only fill up."""
    whole: int = 0
    """Supervised tokens of all sequences of the conversation that this one is a part of."""

    @property
    def text_positions(self) -> int:
        """Input positions that are no padding; the last token is no input."""
        return min(len(self.ids) - self.padding, len(self.ids) - 1)


@dataclass(frozen=True)
class Batch:
    """A global batch: packs of conversations, each padded to `pack_size` tokens."""

    packs: list[list[Conversation]]
    pack_size: int
    pad_to_multiple: int = 1
    """Of the positions of each conversation."""


def make_batches() -> dict[str, Batch]:
    """The batches by name: the same conversations in 8, 4, 2 and 1 packs; two packs of which one trains nothing; and 8
    packs in which every conversation is padded."""
    random = torch.Generator().manual_seed(20)
    eighths = _with_wholes([[_conversation(turns, random) for turns in pack] for pack in TURNS])
    batches = {
        "half": Batch([eighths[0], eighths[5]], PACK_SIZE),
        "padded": Batch([[_padded(c) for c in pack] for pack in eighths], PACK_SIZE + 32, PAD_MULTIPLE),
    }
    for count in (8, 4, 2, 1):
        joined = 8 // count
        packs = [list(chain(*eighths[start : start + joined])) for start in range(0, 8, joined)]
        batches[str(count)] = Batch(packs, PACK_SIZE * joined)
    return batches


def _conversation(turns: Sequence[int], random: torch.Generator) -> Conversation:
    ids: list[int] = []
    supervised: list[bool] = []
    for index, length in enumerate(turns):
        answer = index % 2 == 1
        ids += torch.randint(12, 2048, (length,), generator=random).tolist()
        supervised += [answer] * length
        if answer:
            ids[-1] = EOS
    return Conversation(ids, supervised)


def targets(conversation: Conversation) -> list[bool]:
    """For each input position, whether the token after it is trained on.

    Megatron-Bridge's collator leaves out those that follow an end-of-turn token.
    """
    return [
        supervised and token != EOS
        for token, supervised in zip(conversation.ids[:-1], conversation.supervised[1:], strict=True)
    ]


def _with_wholes(packs: list[list[Conversation]]) -> list[list[Conversation]]:
    """The same, with the supervised tokens of the whole conversation that each sequence is of."""
    flat = [conversation for pack in packs for conversation in pack]
    counts = [sum(targets(conversation)) for conversation in flat]
    parts = {one: members for members in PARTS for one in members}
    wholes = []
    for number in range(len(flat)):
        members = parts.get(number, (number,))
        wholes.append(sum(counts[one] + ELSEWHERE.get(one, 0) for one in members))
    numbers = iter(wholes)
    return [[replace(conversation, whole=next(numbers)) for conversation in pack] for pack in packs]


def _padded(conversation: Conversation) -> Conversation:
    """The conversation with padding after it, so that the positions it fills are a multiple of PAD_MULTIPLE."""
    padding = -(len(conversation.ids) - 1) % PAD_MULTIPLE
    ids, supervised = conversation.ids + [EOS] * padding, conversation.supervised + [False] * padding
    return Conversation(ids, supervised, padding, conversation.whole)


def write_parquet(batch: Batch, folder: Path) -> Path:
    """Write the batch as the train split of prepared data: one row per pack, masks rolled inside each conversation."""
    split = folder / "train"
    split.mkdir(parents=True)
    rows = []
    for pack in batch.packs:
        starts = torch.tensor([0, *(len(c.ids) for c in pack)]).cumsum(0).tolist()
        rows.append(
            {
                "input_ids": [token for c in pack for token in c.ids],
                "loss_mask": [int(bit) for c in pack for bit in [*c.supervised[1:], False]],
                "seq_start_id": starts[:-1],
                "conversation_targets": [c.whole for c in pack],
            }
        )
    pq.write_table(pa.Table.from_pylist(rows), split / "shard_000000.parquet")
    return folder
