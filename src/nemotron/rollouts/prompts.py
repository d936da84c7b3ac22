"""The prompts: rows of a blend up to their last user turn, sampled by seed."""

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
from nemotron.paths import expand_home
from nemotron.rollouts.config import PromptsConfig

ROWS = "rollouts.jsonl"
"""The rows of finished rollouts, in the folder of their artifact."""


@dataclass(frozen=True)
class Prompt:
    """What the model is asked, and what is known to be right."""

    key: str
    """Of its content: 32 hexadecimal digits."""
    dataset: str
    messages: list[dict[str, Any]]
    """Up to a user's message; earlier answers without their thoughts, as the model is shown them."""
    tools: list[dict[str, Any]] | None
    reference: str | None


@dataclass(frozen=True)
class Prompts:
    """The prompts of a run, in the order of their ranks, and where they come from."""

    prompts: list[Prompt]
    source: str
    inputs: list[str]
    """For lineage: the artifact they come from, or the paths of the datasets."""
    rows: int
    unusable: int
    """Rows without a prompt: those that data prep would drop, and those in which nobody asks anything."""
    available: int
    """Different prompts there are."""


def read_prompts(
    config: PromptsConfig, artifacts: str | Path, on_progress: Callable[[int, int], None] = lambda done, total: None
) -> Prompts:
    """Read the source and choose the prompts.

    The same seed chooses the same ones, whatever their order.

    Args:
        config: the source and how many of it.
        artifacts: the folder of the artifact records.
        on_progress: called with (bytes read, bytes in all).

    Raises:
        UserError: there is no such source, it cannot be read, or it has no prompt.
    """
    blend, inputs = _source(config, artifacts)
    fields = Fields(config.messages_field, config.tools_field, config.format)
    files = [find_files(dataset) for dataset in blend.datasets]
    total, done = sum(file.size for found in files for file in found), 0
    pools = [_Pool(config.samples, config.seed) for _ in blend.datasets]
    seen: set[str] = set()
    rows = unusable = 0
    for dataset, found, pool in zip(blend.datasets, files, pools, strict=True):
        admission = _admission(dataset, fields, config)
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
                prompt = _prompt(conversation, row.value.get(config.reference_field), dataset.name)
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
    """The prompts of a dataset that rank first.

    No more of them are kept than can be needed.
    """

    def __init__(self, most: int | None, seed: int) -> None:
        self._most, self._seed = most, seed
        self._heap: list[tuple[int, str, Prompt]] = []  # the last-ranked on top
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
        """(rank, prompt) of the first `count`, by rank."""
        return [(-rank, prompt) for rank, _, prompt in heapq.nlargest(count, self._heap)]


def _counts(available: list[int], weights: list[float | None], samples: int | None) -> list[int]:
    """Count how many prompts each dataset gives.

    `samples` in the asked shares, or as many as there are in them.
    """
    try:
        return mix_counts(available, weights, samples=samples)
    except UnreachableMix as error:
        return mix_counts(available, weights, samples=error.most)


def _source(config: PromptsConfig, artifacts: str | Path) -> tuple[Blend, list[str]]:
    """Return the source as a blend, and what lineage calls it."""
    source = config.source
    path = expand_home(source) if "://" not in source else Path(source)
    if "://" in source or "/" in source or path.exists():
        blend = read_blend(source)
        return blend, [dataset.path for dataset in blend.datasets]
    artifact = resolve(source, artifacts, hint="Or give the path of a blend file or of chat data.")
    return _of_artifact(artifact), [artifact.reference]


def _of_artifact(artifact: Artifact) -> Blend:
    rows = Path(artifact.path) / ROWS
    if rows.is_file():
        return Blend(str(rows), (Dataset(name=artifact.name, path=str(rows)),))
    blend = artifact.metadata.get("blend")
    if isinstance(blend, str):
        return read_blend(blend)
    raise UserError(
        f"{artifact.reference} is a {artifact.type}, not chat data.", "Name prepared data or earlier rollouts."
    )


def _admission(dataset: Dataset, fields: Fields, config: PromptsConfig) -> Admission:
    own = Fields(
        dataset.messages_field or fields.messages_field,
        dataset.tools_field or fields.tools_field,
        dataset.format or fields.format,
    )
    return Admission(own, config.used_in_field, dataset.filter or config.used_in_filter)


def _prompt(conversation: Conversation, reference: object, dataset: str) -> Prompt | None:
    """Return the conversation up to its last user message that is answered.

    None when there is no such message.
    """
    messages = conversation.messages
    answers = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
    stop = last_user_index(messages, answers[-1]) + 1
    if stop == 0:
        return None
    asked = [_as_history(message) for message in messages[:stop]]
    key = sha256(canonical_json([asked, conversation.tools])).hexdigest()[:32]
    return Prompt(key, dataset, asked, conversation.tools, _reference(reference, list(_after(messages, stop))))


def _as_history(message: dict[str, Any]) -> dict[str, Any]:
    """Return an earlier message without its thought and its training flags."""
    return {key: value for key, value in message.items() if key not in ("reasoning_content", "train")}


def _after(messages: list[dict[str, Any]], stop: int) -> Iterator[str]:
    """Yield the answers to the prompt, without their thoughts."""
    for message in messages[stop:]:
        if message["role"] == "assistant":
            yield newest_content(message).rpartition("</think>")[2].strip()


def _reference(given: object, answers: list[str]) -> str | None:
    """Return what the row says is right; without that its last answer."""
    if isinstance(given, str | int | float) and not isinstance(given, bool) and str(given).strip():
        return str(given).strip()
    return answers[-1] or None if answers else None
