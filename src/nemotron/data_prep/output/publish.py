"""Publish a finished run in the output folder, and record its artifact."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from nemotron.data_prep.config import DataPrepConfig
from nemotron.data_prep.output.metadata import Metadata
from nemotron.data_prep.plan import PrepPlan
from nemotron.files.atomic_files import point_link, write_bytes, write_json
from nemotron.lineage import Artifact, log_artifact
from nemotron.secrets import mask_text

ARTIFACT = "SFTDataArtifact-sft"


def artifact_name(config: DataPrepConfig) -> str:
    """Return the name of the artifact of the prepared data.

    Training must not find a sample by default, so a sample has another name.
    """
    return ARTIFACT if config.sample is None else f"{ARTIFACT}-sample"


def publish(plan: PrepPlan, metadata: Metadata, report: str) -> Artifact:
    """Point the output folder at the run, and record the artifact.

    `report` is the HTML report. Publishing a run again changes nothing.

    `splits` is one link that is replaced atomically, so that a reader sees all shards of one run, never a mixture. The
    artifact's path is the run's own folder, which later runs do not change.
    """
    _link_tokens(plan)
    point_link(plan.output_dir / "splits", plan.run_dir / "splits")
    write_json(plan.output_dir / "blend.json", megatron_blend(plan.run_dir, metadata))
    write_json(plan.output_dir / "metadata.json", metadata.to_dict())
    write_bytes(plan.output_dir / "report.html", mask_text(report).encode())
    return log_artifact(
        name=artifact_name(plan.config),
        type="dataset",
        path=plan.run_dir / "splits",
        root=plan.config.run.artifacts,
        metadata=_facts(plan, metadata),
        inputs=[planned.dataset.path for planned in plan.datasets],
        input_digests={
            planned.dataset.path: name_content(
                f"{os.path.basename(file.file.path)} {file.file.digest}" for file in planned.files
            )
            for planned in plan.datasets
        },
        aliases=[plan.config.config_name],
        digest=name_content(
            f"{split.path}/{shard.file} {shard.checksum}" for split in metadata.splits for shard in split.shards
        ),
        config=orjson.loads(orjson.dumps(asdict(plan.config))),
    )


def name_content(lines: Iterable[str]) -> str:
    """Return a digest of content, from the names and digests of its files."""
    return f"sha256:{hashlib.sha256(''.join(f'{line}\n' for line in lines).encode()).hexdigest()}"


def _link_tokens(plan: PrepPlan) -> None:
    """Link the run to the tokenized parts that it was made from.

    datasets/{name}/{hash} -> tokens/{name}/{hash}.
    """
    for planned in plan.datasets:
        folder = plan.run_dir / "datasets" / planned.dataset.name
        folder.mkdir(parents=True, exist_ok=True)
        for tokens in planned.folders:
            point_link(folder / tokens.name, tokens)


def megatron_blend(run: Path, metadata: Metadata) -> dict[str, list[Any]]:
    """Return the contents of blend.json for the run in a folder.

    For each split it has the flat list [weight, path without suffix, ...] that Megatron reads; weights are numbers of
    packs. `datasets`, which Megatron does not read, has the actual share of each dataset in the mix.
    """
    shares = [
        {
            "name": mask_text(dataset.name), "split": dataset.goes_to, "weight": dataset.weight,
            "conversations": dataset.kept + dataset.repeated, "conversation_share": dataset.conversation_share,
            "supervised_tokens": dataset.supervised_tokens, "share_of_supervised": dataset.share_of_supervised,
        }
        for dataset in metadata.datasets
    ]  # fmt: skip
    per_split: dict[str, list[Any]] = {
        split.name: [
            entry
            for shard in split.shards
            for entry in (float(shard.packs), str(run / split.path / shard.file.removesuffix(".parquet")))
        ]
        for split in metadata.splits
    }
    return {**per_split, "datasets": shares}


def _facts(plan: PrepPlan, metadata: Metadata) -> dict[str, Any]:
    """Return the facts that a consumer of the artifact needs without opening files."""
    facts = {
        "run_hash": metadata.run_hash,
        "pack_size": metadata.pack_size,
        "pad_to_multiple": metadata.pad_to_multiple,
        "tokens": metadata.tokens,
        "supervised_tokens": metadata.supervised_tokens,
        "conversations": metadata.conversations,
        "rows": sum(dataset.rows for dataset in metadata.datasets),
        "dropped": dict(sum((Counter(dataset.dropped) for dataset in metadata.datasets), Counter[str]())),
        "truncated": sum(dataset.truncated for dataset in metadata.datasets),
        "packs": {split.name: split.packs for split in metadata.splits},
        "tokenizer": metadata.tokenizer,
        "vocab_size": metadata.tokenizer["vocab_size"],
        "chat_template": metadata.chat_template,
        "blend": metadata.blend,
        "metadata": os.fspath(plan.run_dir / "metadata.json"),
    }
    return orjson.loads(orjson.dumps(facts))
