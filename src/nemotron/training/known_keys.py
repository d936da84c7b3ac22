"""Refusing a misspelt Megatron-Bridge setting without importing Megatron.

`sections.py` checks against the real classes when training starts. Before that (in a dry run, before a job is queued)
the lists in megatron_keys.json do, which tools/list_megatron_keys.py reads off each tested release.
"""

import json
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files

from nemotron.errors import UserError, did_you_mean
from nemotron.training.config import SftConfig


def check_known_keys(config: SftConfig, origins: Mapping[str, str]) -> None:
    """Check the keys of every section that is Megatron-Bridge's own.

    A key of any listed release passes, whichever is installed here: a job may run beside another one, in a container.
    Where a release is installed that is not listed, its own classes decide, later.

    Args:
        config: the training config.
        origins: dotted key -> where it was written.

    Raises:
        UserError: naming the first unknown key, its place and the nearest known one.
    """
    listed = json.loads((files("nemotron.training") / "megatron_keys.json").read_text(encoding="utf-8"))
    if _installed_release() not in (*listed, None):
        return
    for section in next(iter(listed.values())):
        known = sorted(set().union(*(sections[section] for sections in listed.values())))
        values = getattr(config, section)
        for key in values if isinstance(values, dict) else ():
            if key not in known:
                dotted = f"{section}.{key}"
                where = origins.get(dotted, "config")
                raise UserError(
                    f"{where}: {dotted} is not a setting of Megatron-Bridge {' or '.join(listed)}.",
                    did_you_mean(dotted, [f"{section}.{name}" for name in known])
                    or "Its settings are in src/nemotron/training/megatron_keys.json.",
                )


def _installed_release() -> str | None:
    try:
        return version("megatron-bridge")
    except PackageNotFoundError:
        return None
