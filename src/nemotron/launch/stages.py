"""Describe a stage to launch: one of the two scripts and its resolved config."""

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
    """One job to launch. Build it with `make_prep_stage` or `make_sft_stage`."""

    name: str
    """`prep` or `sft`; part of the name of the job, its folder and its log."""
    script: Path
    """The script, relative to the package's folder."""
    config: Mapping[str, Any]
    """The resolved config that the script will load, without secrets."""
    config_name: str
    """The name that the config was loaded by, for messages and artifacts."""
    distributed: bool
    """Whether torchrun starts the stage on every node; otherwise it is one process."""
    processes_per_node: int | None = None
    """Overrides the profile's number."""
    container: str | None = None
    """The image for a profile without one."""
    writes: Mapping[str, str] = field(default_factory=dict)
    """The folders that the stage writes to, as in the config, by the keys that name them."""
    ray: bool = False
    """Whether the stage runs on the first node of a Ray cluster that spans all nodes of the job."""
    ends_within: int | None = None
    """Seconds that one node may continue after the others; None means that all end together."""


def make_prep_stage(loaded: Loaded[Any]) -> Stage:
    """Make the data-prep stage of a config.

    Raises:
        UserError: A value in the config is a secret.
    """
    own_cluster = loaded.tree["engine"] == "ray" and not loaded.tree["ray_address"]
    config, writes = _portable(loaded), list_prep_writes(loaded)
    return Stage("prep", PREP_SCRIPT, config, loaded.name, distributed=False, writes=writes, ray=own_cluster)


def make_sft_stage(loaded: Loaded[Any]) -> Stage:
    """Make the training stage of a config.

    Raises:
        UserError: A value in the config is a secret.
    """
    run = loaded.tree["run"]
    processes = None if run["nproc_per_node"] == "auto" else run["nproc_per_node"]
    container = run["env"].get("container")
    # The nodes wait for the export themselves; Slurm must not end them earlier.
    patience = 60 * max(loaded.tree["convert_to_hf"]["timeout_minutes"], 0) + 300
    config, writes = _portable(loaded), list_sft_writes(loaded)
    return Stage("sft", TRAIN_SCRIPT, config, loaded.name, True, processes, container, writes, ends_within=patience)


def list_prep_writes(loaded: Loaded[Any]) -> dict[str, str]:
    """Return the folder that data prep writes to, by its key."""
    sample = loaded.tree["sample"]
    return {"output_dir": loaded.tree["output_dir"] + (f"/sample-{sample}" if sample is not None else "")}


def list_sft_writes(loaded: Loaded[Any]) -> dict[str, str]:
    """Return the folders that training writes to, by their keys."""
    output = loaded.tree["run"]["output_dir"]
    save = loaded.tree.get("checkpoint", {}).get("save")
    return {"run.output_dir": output, "checkpoint.save": save or f"{output}/checkpoints"}


def _portable(loaded: Loaded[Any]) -> dict[str, Any]:
    """Return the config in a form that another machine can load.

    Paths into the shipped config folder become `${config_dir:...}`, because that folder is copied with the job.
    """
    for key, origin in loaded.origins.items():
        value = _lookup(loaded.tree, key)
        if mask_tree(value, key) != value:
            raise UserError(
                f"{origin}: {key} contains a secret, and a job's config is written to disk.",
                "Put it in an environment variable, and list the variable under secrets in the profile.",
            )
    return _relocate(loaded.tree, str(config_dir()))


def _lookup(tree: Any, key: str) -> Any:
    for part in key.split("."):
        tree = tree[part] if isinstance(tree, Mapping) and part in tree else None
    return tree


def _relocate(value: Any, shipped: str) -> Any:
    if isinstance(value, Mapping):
        return {key: _relocate(child, shipped) for key, child in value.items()}
    if isinstance(value, list):
        return [_relocate(child, shipped) for child in value]
    if not isinstance(value, str):
        return value
    if value == shipped or value.startswith(shipped + "/"):
        return f"${{config_dir:{value[len(shipped) + 1 :]}}}"
    return escape(value)  # a resolved value must not be resolved again
