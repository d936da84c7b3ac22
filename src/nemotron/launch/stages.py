"""Describe what is launched: one of the two scripts with its resolved config."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nemotron
from nemotron.config import Loaded, config_dir
from nemotron.config.interpolate import escape
from nemotron.errors import UserError
from nemotron.secrets import mask_tree

PACKAGE = Path(nemotron.__file__).resolve().parent
PREP_SCRIPT = Path("recipes/super3/stage1_sft/data_prep.py")
TRAIN_SCRIPT = Path("recipes/super3/stage1_sft/train.py")
RAY_NODE = Path("recipes/ray_node.py")
TORCHRUN = Path("recipes/torchrun.py")
STARTUP = Path("recipes/startup.py")


@dataclass(frozen=True)
class Stage:
    """One job to launch. Build it with `prep_stage` or `sft_stage`."""

    name: str
    """`prep` or `sft`: names the job, its folder and its log."""
    script: Path
    """The script, relative to the package's folder."""
    config: Mapping[str, Any]
    """The resolved config, as the script will load it; free of secrets."""
    config_name: str
    """The name the config was loaded by, which messages and artifacts refer to."""
    distributed: bool
    """Whether torchrun starts it, on every node; otherwise it is one process."""
    processes_per_node: int | None = None
    """Overrides the profile's number."""
    container: str | None = None
    """The image for a profile that names none."""
    writes: Mapping[str, str] = field(default_factory=dict)
    """The folders it writes to, as the config has them, by the keys that name them."""
    ray: bool = False
    """Whether the stage's process runs on the first node of a Ray cluster that all nodes of the job form."""
    ends_within: int | None = None
    """Seconds that one node may go on after the others; None: all end together."""


def prep_stage(loaded: Loaded[Any]) -> Stage:
    """Make the data-prep stage of a config.

    Raises:
        UserError: A value in it is a secret.
    """
    own_cluster = loaded.tree["engine"] == "ray" and not loaded.tree["ray_address"]
    config, writes = _portable(loaded), prep_writes(loaded)
    return Stage("prep", PREP_SCRIPT, config, loaded.name, distributed=False, writes=writes, ray=own_cluster)


def sft_stage(loaded: Loaded[Any]) -> Stage:
    """Make the training stage of a config.

    Raises:
        UserError: A value in it is a secret.
    """
    run = loaded.tree["run"]
    processes = None if run["nproc_per_node"] == "auto" else run["nproc_per_node"]
    container = run["env"].get("container")
    # The nodes wait for the export by themselves; Slurm is not to lose patience before them.
    patience = 60 * max(loaded.tree["convert_to_hf"]["timeout_minutes"], 0) + 300
    config, writes = _portable(loaded), sft_writes(loaded)
    return Stage("sft", TRAIN_SCRIPT, config, loaded.name, True, processes, container, writes, ends_within=patience)


def prep_writes(loaded: Loaded[Any]) -> dict[str, str]:
    """List the folder that data prep writes to, by its key."""
    sample = loaded.tree["sample"]
    return {"output_dir": loaded.tree["output_dir"] + (f"/sample-{sample}" if sample is not None else "")}


def sft_writes(loaded: Loaded[Any]) -> dict[str, str]:
    """List the folders that training writes to, by their keys."""
    output = loaded.tree["run"]["output_dir"]
    save = loaded.tree.get("checkpoint", {}).get("save")
    return {"run.output_dir": output, "checkpoint.save": save or f"{output}/checkpoints"}


def _portable(loaded: Loaded[Any]) -> dict[str, Any]:
    """Write the config so that another machine can load it.

    Paths into the shipped config folder become `${config_dir:...}`, since that folder travels with the job.
    """
    for key, origin in loaded.origins.items():
        value = _lookup(loaded.tree, key)
        if mask_tree(value, key) != value:
            raise UserError(
                f"{origin}: {key} holds a secret, and a job's config is written to disk.",
                "Put it in an environment variable, and name the variable under secrets in the profile.",
            )
    return _relocated(loaded.tree, str(config_dir()))


def _lookup(tree: Any, key: str) -> Any:
    for part in key.split("."):
        tree = tree[part] if isinstance(tree, Mapping) and part in tree else None
    return tree


def _relocated(value: Any, shipped: str) -> Any:
    if isinstance(value, Mapping):
        return {key: _relocated(child, shipped) for key, child in value.items()}
    if isinstance(value, list):
        return [_relocated(child, shipped) for child in value]
    if not isinstance(value, str):
        return value
    if value == shipped or value.startswith(shipped + "/"):
        return f"${{config_dir:{value[len(shipped) + 1 :]}}}"
    return escape(value)  # a resolved value is not to be resolved again
