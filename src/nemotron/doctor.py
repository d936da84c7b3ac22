"""Find what this machine has and lacks, using only the standard library.

No package is imported: versions come from the packages' metadata. The first step of a job uses this too.
"""

import importlib.metadata
import importlib.util
import os
import shutil
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from nemotron.errors import UserError

_SHARED = {"typer": "typer", "omegaconf": "omegaconf", "yaml": "PyYAML"}
NEEDED = {
    "prep": {
        **_SHARED,
        "fsspec": "fsspec",
        "huggingface_hub": "huggingface-hub",
        "jinja2": "jinja2",
        "numpy": "numpy",
        "orjson": "orjson",
        "pyarrow": "pyarrow",
        "tokenizers": "tokenizers",
    },
    "sft": {**_SHARED, "torch": "torch", "megatron.core": "megatron-core", "megatron.bridge": "megatron-bridge"},
}
"""Modules that a stage cannot start without, and the packages that provide them."""
OPTIONAL = {
    "gigatoken": ("prep", "tokenizing is about thirty times slower", "gigatoken"),
    "zstandard": ("prep", ".zst files are not read", "zstandard"),
    "ray": ("prep", "engine=ray is not available", "ray"),
    "transformer_engine": ("sft", "training uses the slower torch layers, without FP8", "transformer-engine"),
    "mamba_ssm": ("sft", "the Mamba layers run in plain torch, which is slow", "mamba-ssm"),
    "nemo_run": ("launch", "--run and --batch cannot submit to a cluster", "nemo-run"),
}
"""Optional modules: the stage that uses each, what is lost without it, and its package."""
_INSTALLED_BY = {
    "torch": "train", "megatron-core": "train", "megatron-bridge": "train", "nemo-run": "launch", "ray": "ray",
}  # fmt: skip
"""The extra of this package that installs each of them."""
_IN_CONTAINER = ("transformer-engine", "mamba-ssm")
HUB = "https://huggingface.co"
HUB_SECONDS = 1.0
FREE_BYTES = 10 * 2**30
"""Less free disk than this is reported. A tiny run takes megabytes; a checkpoint takes many times this."""


@dataclass(frozen=True)
class Finding:
    """One part of a machine."""

    part: str
    found: str
    """A version, a path or an amount; "" when it is missing."""
    cost: str = ""
    """What does not work without it; "" if it was found."""
    advice: str = ""
    """What to do about it."""
    needed: bool = False
    """Whether a stage cannot start without it."""


def examine(*, hub: bool = True) -> list[Finding]:
    """List every part that a run may use, including the missing ones.

    Args:
        hub: Whether to try to reach the Hugging Face hub, for at most a second per address.
    """
    needed = {module: package for modules in NEEDED.values() for module, package in modules.items()}
    return [
        Finding("Python", f"{_python()} ({sys.executable})"),
        *[_check_needed(module, package) for module, package in needed.items()],
        *[_check_optional(module) for module in OPTIONAL],
        _gpu(),
        _tool("sbatch", "Slurm", 'jobs are not submitted from here; tunnel = "ssh" reaches a login node'),
        _tool("ssh", "ssh", 'profiles with tunnel = "ssh" do not work'),
        _tool("rsync", "rsync", 'profiles with tunnel = "ssh" do not work'),
        _wandb_key(),
        *([_hub()] if hub else []),
        _disk(),
        Finding("memory", f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"),
    ]


def version(package: str) -> str | None:
    """Return the installed version of a package, or None if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def is_there(module: str) -> bool:
    """Look for a module without importing it."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def missing_packages(stage: str, *, ray: bool = False) -> list[str]:
    """List the missing packages that `stage` (prep or sft) cannot start without."""
    needed = NEEDED[stage] | ({"ray": "ray"} if ray else {})
    return [package for module, package in needed.items() if not is_there(module)]


def missing_extras(stage: str) -> dict[str, str]:
    """Map each missing optional package of `stage` to what is lost without it."""
    return {
        package: cost
        for module, (where, cost, package) in OPTIONAL.items()
        if where == stage and package != "ray" and not is_there(module)
    }


def is_hub_offline() -> bool:
    """Tell whether HF_HUB_OFFLINE asks for the cache only."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON")


def connect_to_hub(seconds: float) -> str:
    """Open a connection to the hub, or to the endpoint or proxy that replaces it.

    Args:
        seconds: How long to wait for each of its addresses.

    Returns:
        What answered, for people.

    Raises:
        OSError: Nothing did.
        ValueError: HF_ENDPOINT or https_proxy is not an address.
    """
    endpoint = os.environ.get("HF_ENDPOINT") or HUB
    proxy = os.environ.get("https_proxy") or os.environ.get("HTTPS_PROXY")
    parts = urlsplit(proxy or endpoint)
    port = parts.port or (80 if parts.scheme == "http" else 443)
    with socket.create_connection((parts.hostname or "", port), timeout=seconds):
        name = urlsplit(endpoint).hostname or endpoint
        return f"{name} through a proxy" if proxy else name


def is_hub_reachable(seconds: float = 5.0) -> bool:
    """Tell whether a download may be tried: the hub's libraries try for minutes."""
    try:
        connect_to_hub(seconds)
    except (OSError, ValueError):
        return False
    return True


def refuse_without_training() -> None:
    """Refuse to train or read checkpoints if the packages for it are not installed.

    Raises:
        UserError: It names the missing packages.
    """
    if not (missing := missing_packages("sft")):
        return
    python = "" if sys.version_info[:2] == (3, 12) else f" Megatron-Bridge needs Python 3.12; this is {_python()}."
    raise UserError(
        f"Training needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed here.",
        f"In the repository, run uv sync. Elsewhere, install the extra nemotron[train]; the README says how.{python}",
    )


def _python() -> str:
    return sys.version.split()[0]


def _install(package: str) -> str:
    if extra := _INSTALLED_BY.get(package):
        return f"Run uv sync{' --extra ray' if extra == 'ray' else ''}, or install nemotron[{extra}]."
    return f"Install {package}."


def _check_needed(module: str, package: str) -> Finding:
    if is_there(module):
        found = version(package)
        line = f" (the {'.'.join(found.split('.')[:2])} line)" if found and package == "megatron-bridge" else ""
        return Finding(package, f"{found or 'found'}{line}", needed=True)
    stages = [{"prep": "data prep", "sft": "training"}[stage] for stage, modules in NEEDED.items() if module in modules]
    return Finding(package, "", f"{' and '.join(stages)} cannot start", _install(package), True)


def _check_optional(module: str) -> Finding:
    _, cost, package = OPTIONAL[module]
    if is_there(module):
        return Finding(package, version(package) or "found")
    advice = "Use the NeMo container, which has it." if package in _IN_CONTAINER else _install(package)
    return Finding(package, "", cost, advice)


def _gpu() -> Finding:
    driver = Path("/proc/driver/nvidia/version")
    if not driver.exists() and shutil.which("nvidia-smi") is None:
        return Finding("CUDA", "", "training runs on the CPU: tiny models only", "Train on a machine with a GPU.")
    gpus = len(list(Path("/proc/driver/nvidia/gpus").glob("*")))
    return Finding("CUDA", f"a driver, {gpus} GPUs" if gpus else "a driver")


def _tool(command: str, part: str, cost: str) -> Finding:
    if path := shutil.which(command):
        return Finding(part, path)
    advice = "Submit from a login node." if command == "sbatch" else f"Install {command}."
    return Finding(part, "", cost, advice)


def _wandb_key() -> Finding:
    """Report whether there is a key, but never the key itself."""
    from nemotron.lineage.access import find_key

    if found := find_key():
        return Finding("W&B key", f"in {found}")
    return Finding(
        "W&B key",
        "",
        "runs are recorded offline, not sent to Weights & Biases",
        "Set WANDB_API_KEY, or run wandb login.",
    )


def _hub() -> Finding:
    """Try to connect to the hub, or to the endpoint or proxy that replaces it."""
    if is_hub_offline():
        return Finding("hub", "", "data and tokenizers come from the cache only", "Unset HF_HUB_OFFLINE.")
    try:
        return Finding("hub", connect_to_hub(HUB_SECONDS))
    except (OSError, ValueError):
        advice = "Check the network, or set HF_ENDPOINT or https_proxy."
        return Finding("hub", "", "data and tokenizers cannot be downloaded", advice)


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free
    found = f"{free / 2**30:.0f} GiB free in {Path.cwd()}"
    if free < FREE_BYTES:
        return Finding("disk", found, "checkpoints may not fit", "Free space, or set run.output_dir elsewhere.")
    return Finding("disk", found)
