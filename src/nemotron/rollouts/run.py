"""Run rollouts from start to end."""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from nemotron.config.path_settings import expand_paths
from nemotron.files.atomic_files import point_link, write_json
from nemotron.files.folder_lock import sole_writer
from nemotron.lineage import Artifact, check_root, log_artifact, resolve
from nemotron.rollouts.client import Client
from nemotron.rollouts.collect import Request, State, collect, list_requests
from nemotron.rollouts.config import RolloutsConfig, check
from nemotron.rollouts.filters import Filter, make_filters
from nemotron.rollouts.journal import Journal
from nemotron.rollouts.output import BLEND, Counts, write_rows
from nemotron.rollouts.prompts import ROWS, Prompts, read_prompts
from nemotron.rollouts.reply import Reply
from nemotron.secrets import mask_tree

ARTIFACT = "RolloutArtifact-sft"
OnPrompts = Callable[[int, int], None]
OnState = Callable[[State], None]


@dataclass(frozen=True)
class RolloutsPlan:
    """What will be requested, and from where.

    Making a plan reads the prompts but sends nothing.
    """

    config: RolloutsConfig
    prompts: Prompts
    requests: list[Request]
    filters: list[Filter]
    model_artifact: Artifact | None
    output_dir: Path

    def rows(self) -> list[tuple[str, str]]:
        """Return the plan as (what, value) lines for a dry run."""
        endpoint, prompts = self.config.endpoint, self.prompts
        limit = f", {endpoint.requests_per_minute:,} a minute" if endpoint.requests_per_minute else ""
        return [
            ("prompts", f"{len(prompts.prompts):,} of {prompts.available:,} different prompts in {prompts.source}"),
            ("rows without a prompt", f"{prompts.unusable:,} of {prompts.rows:,}"),
            ("with a reference", f"{sum(prompt.reference is not None for prompt in prompts.prompts):,}"),
            ("completions", f"{len(self.requests):,}, {self.config.prompts.per_prompt} for each prompt"),
            ("endpoint", f"{endpoint.base_url}, {endpoint.concurrency} requests at a time{limit}"),
            ("model", endpoint.model or "the one that the endpoint serves"),
            ("model artifact", self.model_artifact.reference if self.model_artifact else "not recorded"),
            ("writes to", str(self.output_dir)),
        ]


@dataclass(frozen=True)
class Completed:
    """The replies to a plan's requests."""

    identity: dict[str, Any]
    """The model and the sampling parameters, which a journal belongs to."""
    replies: dict[str, Reply]
    """Replies by key."""
    failed: int


@dataclass(frozen=True)
class RolloutsResult:
    """The results of a run."""

    rows: Path
    """The rows, as JSONL."""
    blend: Path
    """A blend file that names them."""
    counts: Counts
    model: str
    artifact: Artifact


def make_plan(config: RolloutsConfig, on_progress: OnPrompts = lambda done, total: None) -> RolloutsPlan:
    """Check the settings and choose the prompts.

    Raises:
        UserError: A setting is wrong.
    """
    config = expand_paths(config, {})  # already done for a config from YAML
    check(config)
    check_root(config.run.artifacts)
    filters = make_filters(config.filter)
    model = None
    if config.model_artifact is not None:
        hint = "Set model_artifact to the served model, or to null if it is not recorded."
        model = resolve(config.model_artifact, config.run.artifacts, hint=hint)
    prompts = read_prompts(config.prompts, config.run.artifacts, on_progress)
    output_dir = Path(config.output_dir).absolute()
    return RolloutsPlan(
        config, prompts, list_requests(prompts.prompts, config.prompts.per_prompt), filters, model, output_dir
    )


def roll_out(plan: RolloutsPlan, on_progress: OnState = lambda state: None) -> RolloutsResult:
    """Request all completions and write the rows.

    A killed run is resumed without losing a row.

    Raises:
        UserError: The endpoint cannot be used, or another process writes to the output folder.
    """
    with sole_writer(plan.output_dir):
        return asyncio.run(_roll_out(plan, on_progress))


async def _roll_out(plan: RolloutsPlan, on_progress: OnState) -> RolloutsResult:
    config = plan.config
    async with Client(config.endpoint) as client:
        completed = await complete(plan, client, on_progress)
    identity = completed.identity
    run = plan.output_dir / "runs" / _hash([identity, asdict(config.filter), [r.key for r in plan.requests]])
    counts = write_rows(run, plan.requests, completed.replies, plan.filters, config.sampling)
    facts = _facts(plan, identity, counts, completed.failed, client.retried)
    write_json(run / "metadata.json", facts)
    for name in (ROWS, BLEND, "metadata.json"):
        point_link(plan.output_dir / name, run / name)
    artifact = log_artifact(
        name=ARTIFACT,
        type="dataset",
        path=run,
        root=config.run.artifacts,
        metadata={key: value for key, value in facts.items() if key != "retried"},
        inputs=[*([plan.model_artifact] if plan.model_artifact else []), *plan.prompts.inputs],
        aliases=[config.config_name],
        config=asdict(config),
    )
    return RolloutsResult(plan.output_dir / ROWS, plan.output_dir / BLEND, counts, identity["model"], artifact)


async def complete(plan: RolloutsPlan, client: Client, on_progress: OnState) -> Completed:
    """Request every completion that the journal of these settings lacks."""
    config = plan.config
    model = await client.model()
    identity = {
        "model": model,
        "model_artifact": plan.model_artifact.reference if plan.model_artifact else None,
        "sampling": mask_tree(asdict(config.sampling)),
    }
    journal_path = plan.output_dir / "journals" / f"{_hash(identity)}.jsonl"
    if config.force:
        journal_path.unlink(missing_ok=True)
    with Journal(journal_path) as journal:
        failed = await collect(plan.requests, client, model, journal, config.endpoint, config.sampling, on_progress)
        return Completed(identity, journal.replies, failed)


def _facts(plan: RolloutsPlan, identity: dict[str, Any], counts: Counts, failed: int, retried: int) -> dict[str, Any]:
    """Return the facts for metadata.json and the artifact."""
    return {
        **identity,
        "endpoint": plan.config.endpoint.base_url,
        "prompts": {
            "source": plan.prompts.source,
            "seed": plan.config.prompts.seed,
            "chosen": len(plan.prompts.prompts),
            "available": plan.prompts.available,
            "rows": plan.prompts.rows,
            "unusable": plan.prompts.unusable,
        },
        "filter": asdict(plan.config.filter),
        "completions": {**asdict(counts), "left_out": dict(counts.left_out.most_common())},
        "failed": failed,
        "retried": retried,
    }


def _hash(value: Any) -> str:
    return hashlib.blake2b(orjson.dumps(value, option=orjson.OPT_SORT_KEYS), digest_size=8).hexdigest()
