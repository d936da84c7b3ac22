"""Read prompts: rows of a blend up to their last user turn, sampled by seed."""

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from nemotron.data_prep.chat.content_hash import canonical_json, sampling_rank
from nemotron.data_prep.chat.conversation import Conversation
from nemotron.data_prep.chat.reasoning import last_user_index, newest_content
from nemotron.data_prep.dialects.admission import Admission
from nemotron.data_prep.dialects.forms import Fields
from nemotron.data_prep.drop_reasons import RowError
from nemotron.data_prep.selection.mix import UnreachableMix, mix_counts
from nemotron.data_prep.sources import cut, find_files, read_rows
from nemotron.data_prep.sources.blend import Blend, Dataset, read_blend
from nemotron.errors import UserError
from nemotron.lineage import Artifact, resolve
from nemotron.rollouts.config import PromptsConfig

ROWS = "rollouts.jsonl"
"""The file with the rows of finished rollouts, in the artifact's folder."""


@dataclass(frozen=True)
class Prompt:
    """What the model is asked, and the reference answer."""

    key: str
    """Hash of the content: 32 hexadecimal digits."""
    dataset: str
    messages: list[dict[str, Any]]
    """Messages up to a user's; earlier answers without their thoughts, as the model sees them."""
    tools: list[dict[str, Any]] | None
    reference: str | None


@dataclass(frozen=True)
class Prompts:
    """The prompts of a run, ordered by sampling rank, and where they come from."""

    prompts: list[Prompt]
    source: str
    inputs: list[str]
    """For lineage: the artifact that they come from, or the paths of the datasets."""
    rows: int
    unusable: int
    """Rows without a prompt: data prep would drop them, or they have no user message."""
    available: int
    """Number of different prompts in the source."""


def read_prompts(
    config: PromptsConfig, artifacts: str | Path, on_progress: Callable[[int, int], None] = lambda done, total: None
) -> Prompts:
    """Read the source and choose the prompts.

    The same seed chooses the same prompts, whatever the order of the rows.

    Args:
        config: The source, and how many prompts to take.
        artifacts: The folder of the artifact records.
        on_progress: Called with (bytes read, total bytes).

    Raises:
        UserError: The source does not exist, cannot be read, or has no prompts.
    """
    blend, inputs = _source(config, artifacts)
    fields = Fields(config.messages_field, config.tools_field, config.format)
    files = [find_files(dataset) for dataset in blend.datasets]
    total, done = sum(file.size for found in files for file in found), 0
    pools = [_Pool(config.samples, config.seed) for _ in blend.datasets]
    seen: set[str] = set()
    rows = unusable = 0
    for dataset, found, pool in zip(blend.datasets, files, pools, strict=True):
        admission = _make_admission(dataset, fields, config)
        for part in (part for file in found for part in cut(file)):
            for row in read_rows(part):
                if row.is_blank:
                    continue
                rows += 1
                try:
                    conversation = admission.conversation(row)
                except RowError:
                    unusable += 1
                    continue
                prompt = _make_prompt(conversation, row.value.get(config.reference_field), dataset.name)
                unusable += prompt is None
                if prompt is not None and prompt.key not in seen:
                    seen.add(prompt.key)
                    pool.add(prompt)
            done += part.bytes
            on_progress(done, total)
    if not seen:
        raise UserError(
            f"{config.source} has no prompts: {rows:,} rows, {unusable:,} of them unusable.",
            "See why with: nemotron super3 data inspect FILE",
        )
    counts = _counts([pool.seen for pool in pools], [dataset.weight for dataset in blend.datasets], config.samples)
    chosen = [entry for pool, count in zip(pools, counts, strict=True) for entry in pool.first(count)]
    chosen.sort(key=lambda entry: (entry[0], entry[1].key))
    return Prompts([prompt for _, prompt in chosen], config.source, inputs, rows, unusable, len(seen))


class _Pool:
    """The first-ranked prompts of a dataset, no more than can be needed."""

    def __init__(self, most: int | None, seed: int) -> None:
        self._most, self._seed = most, seed
        self._heap: list[tuple[int, str, Prompt]] = []  # a heap with the last-ranked on top
        self.seen = 0

    def add(self, prompt: Prompt) -> None:
        self.seen += 1
        rank = int(sampling_rank(np.array([int(prompt.key[:16], 16)], np.uint64), self._seed)[0])
        entry = (-rank, prompt.key, prompt)
        if len(self._heap) == self._most:
            heapq.heappushpop(self._heap, entry)
        else:
            heapq.heappush(self._heap, entry)

    def first(self, count: int) -> list[tuple[int, Prompt]]:
        """Return (rank, prompt) of the first `count` prompts, by rank."""
        return [(-rank, prompt) for rank, _, prompt in heapq.nlargest(count, self._heap)]


def _counts(available: list[int], weights: list[float | None], samples: int | None) -> list[int]:
    """Return how many prompts to take from each dataset.

    They sum to `samples`, or to as many as there are, in the shares of the weights.
    """
    try:
        return mix_counts(available, weights, samples=samples)
    except UnreachableMix as error:
        return mix_counts(available, weights, samples=error.most)


def _source(config: PromptsConfig, artifacts: str | Path) -> tuple[Blend, list[str]]:
    """Return the source as a blend, and its inputs for lineage."""
    source = config.source
    if "/" in source or Path(source).exists():
        blend = read_blend(source)
        return blend, [dataset.path for dataset in blend.datasets]
    artifact = resolve(source, artifacts, hint="Or give the path of a blend file or of chat data.")
    return _make_blend(artifact), [artifact.reference]


def _make_blend(artifact: Artifact) -> Blend:
    rows = Path(artifact.path) / ROWS
    if rows.is_file():
        return Blend(str(rows), (Dataset(name=artifact.name, path=str(rows)),))
    blend = artifact.metadata.get("blend")
    if isinstance(blend, str):
        return read_blend(blend)
    raise UserError(
        f"{artifact.reference} is a {artifact.type}, not chat data.", "Use prepared data or earlier rollouts."
    )


def _make_admission(dataset: Dataset, fields: Fields, config: PromptsConfig) -> Admission:
    own = Fields(
        dataset.messages_field or fields.messages_field,
        dataset.tools_field or fields.tools_field,
        dataset.format or fields.format,
    )
    return Admission(own, config.used_in_field, dataset.filter or config.used_in_filter)


def _make_prompt(conversation: Conversation, reference: object, dataset: str) -> Prompt | None:
    """Return the conversation up to its last answered user message, or None."""
    messages = conversation.messages
    answers = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
    stop = last_user_index(messages, answers[-1]) + 1
    if stop == 0:
        return None
    asked = [_as_history(message) for message in messages[:stop]]
    key = sha256(canonical_json([asked, conversation.tools])).hexdigest()[:32]
    return Prompt(
        key, dataset, asked, conversation.tools, _choose_reference(reference, list(_list_answers(messages, stop)))
    )


def _as_history(message: dict[str, Any]) -> dict[str, Any]:
    """Return an earlier message without its thought and its training flags."""
    return {key: value for key, value in message.items() if key not in ("reasoning_content", "train")}


def _list_answers(messages: list[dict[str, Any]], stop: int) -> Iterator[str]:
    """Yield the answers to the prompt, without their thoughts."""
    for message in messages[stop:]:
        if message["role"] == "assistant":
            yield newest_content(message).rpartition("</think>")[2].strip()


def _choose_reference(given: object, answers: list[str]) -> str | None:
    """Return the row's reference answer, else its last answer."""
    if isinstance(given, str | int | float) and not isinstance(given, bool) and str(given).strip():
        return str(given).strip()
    return answers[-1] or None if answers else None
