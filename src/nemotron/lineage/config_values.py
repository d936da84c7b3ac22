"""Look up `${art:data,path}`: a field of the artifact that `run.data` names."""

from collections.abc import Mapping
from typing import Any

from nemotron.errors import UserError, did_you_mean
from nemotron.files.paths import expand_home
from nemotron.lineage.resolve import resolve


def look_up(run: Mapping[str, Any], name: str, field: str) -> Any:
    """Return a field of an artifact.

    Args:
        run: The section `run`: `data` and `model` name artifacts, `artifacts` is the folder of their records.
        name: A key of `run`, or the name of an artifact.
        field: `path`, `name`, `version`, `type`, `reference`, `digest`, or a dotted key of its metadata.

    Raises:
        UserError: There is no such artifact, or it has no such field.
    """
    reference = run.get(name, name)
    if not isinstance(reference, str):
        raise UserError(f"run.{name} names no artifact", f"Set run.{name}.")
    artifact = resolve(expand_home(reference), expand_home(run["artifacts"]))  # while a config is being loaded
    own = {key: getattr(artifact, key) for key in ("path", "name", "version", "type", "reference", "digest")}
    facts = {**_flatten(artifact.metadata), **own}
    if field not in facts:
        near = did_you_mean(field, facts) or f"It has: {', '.join(sorted(facts))}."
        raise UserError(f"{artifact.reference} has no {field}", near)
    return facts[field]


def _flatten(value: Mapping[str, Any], section: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, child in value.items():
        found[section + key] = child
        if isinstance(child, Mapping):
            found |= _flatten(child, f"{section}{key}.")
    return found
