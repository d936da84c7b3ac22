"""`${art:data,path}` in a config: a fact of the artifact that `run.data` names."""

from collections.abc import Mapping
from typing import Any

from nemotron.errors import UserError, did_you_mean
from nemotron.lineage.resolve import resolve


def look_up(run: Mapping[str, Any], name: str, field: str) -> Any:
    """Return a fact of an artifact.

    Args:
        run: the section `run`: `data` and `model` name artifacts, `artifacts` the folder of their records.
        name: a key of `run`, or an artifact's own name.
        field: `path`, `name`, `version`, `type`, `reference`, `digest`, or a dotted key of its metadata.

    Raises:
        UserError: there is no such artifact, or it has no such fact.
    """
    reference = run.get(name, name)
    if not isinstance(reference, str):
        raise UserError(f"run.{name} names no artifact", f"Set run.{name}.")
    artifact = resolve(reference, run["artifacts"])
    own = {key: getattr(artifact, key) for key in ("path", "name", "version", "type", "reference", "digest")}
    facts = {**_flat(artifact.metadata), **own}
    if field not in facts:
        near = did_you_mean(field, facts) or f"It has: {', '.join(sorted(facts))}."
        raise UserError(f"{artifact.reference} has no {field}", near)
    return facts[field]


def _flat(value: Mapping[str, Any], section: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, child in value.items():
        found[section + key] = child
        if isinstance(child, Mapping):
            found |= _flat(child, f"{section}{key}.")
    return found
