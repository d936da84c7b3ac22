"""Run `nemotron artifacts`: show what was made, by what, and from what."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nemotron.cli import console, options

if TYPE_CHECKING:
    from nemotron.lineage import Artifact
    from nemotron.lineage.graph import Node

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME", callback=options.expand_paths, help="NAME, NAME:latest, NAME:v3, NAME:ALIAS or its folder."
    ),
]
Root = Annotated[
    Path | None,
    typer.Option(
        "--artifacts",
        metavar="DIR",
        callback=options.expand_paths,
        help="Folder of the records; default: $NEMOTRON_ARTIFACTS or run.artifacts.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]

artifacts = typer.Typer(
    rich_markup_mode=None,
    help="Show recorded data and models.",
    epilog="Try it: nemotron artifacts list",
)


@artifacts.command("list")
def list_(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="List every version of this one.")] = None,
    root: Root = None,
    as_json: AsJson = False,
) -> None:
    """List what is recorded.

    Shows the latest version of each name and those with an alias; with NAME, all of its versions.

    \b
    Examples:
      nemotron artifacts list
      nemotron artifacts list ModelArtifact-sft
    """
    from nemotron.lineage.artifact import list_names, list_versions, read_aliases, read_version
    from nemotron.lineage.resolve import find_record

    folder = _root(root)
    if name is not None:
        find_record(name.partition(":")[0], folder)  # refuses an unknown name, with the closest one
    chosen = [name.partition(":")[0]] if name is not None else list_names(folder)
    found, left_out = [], 0
    for each in chosen:
        named = read_aliases(folder, each)
        for version in list_versions(folder, each):
            if name is None and not as_json and version not in (list_versions(folder, each)[-1], *named.values()):
                left_out += 1
                continue
            try:
                artifact = read_version(folder, each, version)
            except ValueError as error:
                console.note(f"{error}.")
                continue
            found.append((artifact, sorted(alias for alias, number in named.items() if number == version)))
    if as_json:
        listed = [{"reference": artifact.reference, **asdict(artifact), "aliases": also} for artifact, also in found]
        console.raw(json.dumps(listed, indent=2, ensure_ascii=False))
        return
    if not found:
        console.out(f"There are no artifacts in {folder}. Data prep and training record what they make.")
        return
    rows = [(artifact.reference, artifact.type, _time(artifact), ", ".join(also)) for artifact, also in found]
    console.table(rows, header=("artifact", "type", "made (UTC)", "aliases"))
    if left_out:
        console.note(f"{left_out} older versions: nemotron artifacts list NAME")


@artifacts.command("show")
def show(name: Name, root: Root = None, as_json: AsJson = False) -> None:
    """Show where an artifact is, its content, and what made it.

    \b
    Examples:
      nemotron artifacts show ModelArtifact-sft
      nemotron artifacts show SFTDataArtifact-sft:v3 --json | jq .config
    """
    from nemotron.lineage.artifact import read_aliases
    from nemotron.lineage.tracking import wandb_run_of

    folder = _root(root)
    artifact = _find(name, folder)
    also = sorted(
        alias for alias, version in read_aliases(folder, artifact.name).items() if version == artifact.version
    )
    run = wandb_run_of(artifact, folder)
    if as_json:
        found = {"reference": artifact.reference, **asdict(artifact), "aliases": also, "wandb": run or None}
        console.raw(json.dumps(found, indent=2, ensure_ascii=False))
        return
    gone = "" if Path(artifact.path).exists() else " (no longer there)"
    facts = [
        ("artifact", artifact.reference),
        ("type", artifact.type),
        ("path", f"{artifact.path}{gone}"),
        ("content", artifact.digest),
        ("aliases", ", ".join(also)),
        ("made", f"{_time(artifact)} UTC" if artifact.created else ""),
        ("by", artifact.command),
        ("code", _code(artifact)),
        ("job", _job(artifact)),
        ("config", f"{_count(artifact.config)} values; --json shows them" if artifact.config else ""),
        ("W&B run", run),
        *[("made from", source) for source in artifact.inputs],
        *[(key, value) for key, value in _flat(artifact.metadata)],
    ]
    console.table([fact for fact in facts if fact[1] != ""])


@artifacts.command("lineage")
def lineage(name: Name, root: Root = None, as_json: AsJson = False) -> None:
    """Show what an artifact was made from, and what was made from it.

    This reaches down to the datasets, and up to the Hugging Face export.

    \b
    Examples:
      nemotron artifacts lineage ModelArtifact-sft-hf
      nemotron artifacts lineage SFTDataArtifact-sft:tiny
    """
    from nemotron.lineage.graph import Records

    folder = _root(root)
    artifact, records = _find(name, folder), Records(folder)
    if artifact.reference not in records:
        from nemotron.lineage import ArtifactError

        raise ArtifactError(f"{artifact.reference} is not recorded in {folder}.", "Give its folder: --artifacts DIR")
    above, below = records.trace_inputs(artifact), records.trace_outputs(artifact)
    if as_json:
        found = above.to_dict("made_from") | {"used_by": below.to_dict("used_by")["used_by"]}
        console.raw(json.dumps(found, indent=2, ensure_ascii=False))
        return
    _print_tree(above, "made from")
    if below.children:
        console.out()
        _print_tree(below, "used by")


def _root(given: Path | None) -> Path:
    from nemotron.cli.configs import use_env_file

    use_env_file()
    return options.artifacts_root(given)


def _find(name: str, root: Path) -> "Artifact":
    from nemotron.lineage import resolve
    from nemotron.lineage.resolve import find_record

    is_folder = "/" in name or (Path(name).is_dir() and not (root / name.partition(":")[0]).is_dir())
    return resolve(name, root) if is_folder else find_record(name, root)


def _print_tree(node: "Node", how: str) -> None:
    console.out(f"{node.reference}{_about(node)}, {how}")
    _print_children(node, "")


def _print_children(node: "Node", indent: str) -> None:
    for child in node.children:
        is_last = child is node.children[-1]
        console.out(f"{indent}{'└─' if is_last else '├─'} {child.reference}{_about(child)}")
        deeper = indent + ("   " if is_last else "│  ")
        if child.seen:
            console.out(f"{deeper}└─ as above")
        _print_children(child, deeper)


def _about(node: "Node") -> str:
    """Describe when a node was made, and whether it is gone.

    For another source, this is a part of its digest.
    """
    if node.artifact is not None:
        gone = "" if Path(node.artifact.path).exists() else ", no longer there"
        return f" ({_time(node.artifact)}{gone})"
    return f" ({node.digest[:19]})" if node.digest and "@" not in node.reference else ""


def _time(artifact: "Artifact") -> str:
    return artifact.created[:16].replace("T", " ")


def _code(artifact: "Artifact") -> str:
    known = artifact.code
    commit = f", commit {known['commit'][:12]}" if known.get("commit") else ""
    return f"{known.get('package', '')}{commit}{' with changes' if known.get('modified') else ''}"


def _job(artifact: "Artifact") -> str:
    if not artifact.job:
        return ""
    what = f"Slurm job {artifact.job['id']}" if artifact.job["kind"] == "slurm" else "local"
    return f"{what} on {artifact.job.get('host', 'an unknown host')}"


def _flat(value: Any, key: str = "") -> list[tuple[str, str]]:
    """Write nested values as dotted keys."""
    if isinstance(value, dict):
        return [row for name, child in value.items() for row in _flat(child, f"{key}.{name}" if key else name)]
    if isinstance(value, float):
        return [(key, f"{value:.6g}")]
    if isinstance(value, int) and not isinstance(value, bool):
        return [(key, f"{value:,}")]
    return [(key, "none" if value is None else str(value))]


def _count(value: Any) -> int:
    return sum(map(_count, value.values())) if isinstance(value, dict) else 1
