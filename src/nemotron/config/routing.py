"""One list of `key=value` for several configs: each key goes to the configs that have it."""

import re
from collections.abc import Mapping, Sequence

from nemotron.config.errors import ConfigError
from nemotron.config.located import COMMAND_LINE
from nemotron.config.overrides import split_override
from nemotron.config.renamed_keys import find_new_name
from nemotron.config.schema import known_keys
from nemotron.errors import did_you_mean


def route_overrides(overrides: Sequence[str], schemas: Mapping[str, type]) -> dict[str, list[str]]:
    """The overrides for each schema, by the names of `schemas`.

    A key that several schemas spell out goes to all of them (`run.artifacts`). A key that none spells out belongs to
    those with an open section above it (`train.train_iters`). Raises ConfigError, with the nearest key of any schema,
    for a key that none can have.
    """
    known = {name: known_keys(schema) for name, schema in schemas.items()}
    routed: dict[str, list[str]] = {name: [] for name in schemas}
    for argument in overrides:
        key = re.sub(r"\.\d+(?=\.|$)", "", split_override(argument)[0])
        takers = [name for name in schemas if key in known[name]]
        takers = takers or [name for name in schemas if _in_open_section(key, known[name])]
        if not takers:
            every = [known_key for keys in known.values() for known_key in keys]
            hint = find_new_name(key) or did_you_mean(key, every)
            raise ConfigError(f'{COMMAND_LINE}: unknown key "{key}".', hint)
        for name in takers:
            routed[name].append(argument)
    return routed


def _in_open_section(key: str, known: list[str]) -> bool:
    """Whether a section above `key` is known and spells out no keys of its own."""
    parts = key.split(".")
    sections = [".".join(parts[:length]) for length in range(1, len(parts))]
    return any(section in known and not any(other.startswith(f"{section}.") for other in known) for section in sections)
