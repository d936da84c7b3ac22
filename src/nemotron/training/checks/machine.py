"""List the checks of the machine that trains.

These are folders, a GPU, packages, and the run to resume.
"""

import os
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

from nemotron.errors import Problem, UserError, as_problem
from nemotron.files.paths import is_path
from nemotron.files.regular_files import open_file
from nemotron.lineage import MANIFEST, check_root
from nemotron.training.backend import Backend
from nemotron.training.checkpoints.hf_folder import ADAPTER_CONFIG, check_replaceable
from nemotron.training.checkpoints.initial_weights import StartingPoint
from nemotron.training.checkpoints.run_folder import RunFolder
from nemotron.training.checkpoints.run_record import RUN_RECORD
from nemotron.training.checks.continuation import check_continuation
from nemotron.training.checks.model import NAME_ONE
from nemotron.training.checks.settings import COMET_KEY, TRACKERS
from nemotron.training.config import SftConfig
from nemotron.training.plan import Plan
from nemotron.training.prepared_data import PreparedData
from nemotron.training.reporting.report.history import HISTORY
from nemotron.training.reporting.report.page import REPORT

_RECORDS = ("metrics.jsonl", "validation.jsonl", "test.jsonl", HISTORY, "train.log")
"""Files that a run continues."""
_REPLACED = ("config.yaml", RUN_RECORD, REPORT)
"""Files that a run replaces, whoever may read them."""
_COMET_FILES = ("~/.comet.config", ".comet.config")


def check_machine(
    config: SftConfig,
    data: PreparedData | None,
    start: StartingPoint,
    run: RunFolder,
    plan: Plan | None,
    backend: Backend | None,
) -> list[Problem]:
    """List the problems on this machine: folders, backend, the run to resume.

    Args:
        config: The training config.
        data: None if it cannot be read.
        start: What the run starts from.
        run: Where it writes, and what it resumes.
        plan: None if its numbers could not be computed.
        backend: What it computes on; None skips this check, for a plan on a machine that will not train.
    """
    return [
        *check_start_is_here(start, run),
        *check_model_is_here(config.recipe.hf_model),
        *(() if data is None else check_tokenizer_is_here(config, data)),
        *check_artifacts(config.run.artifacts),
        *check_records(run.output, run.checkpoints, config.tensorboard_in),
        *check_export(config),
        *check_base_model(run),
        *(() if backend is None else check_backend(config, backend)),
        *check_tracker_packages(config),
        *check_continuation(config, data, run, plan),
    ]


def check_start_is_here(start: StartingPoint, run: RunFolder) -> Iterator[Problem]:
    """Yield a problem if the starting model is not on this machine.

    A run that resumes from a checkpoint no longer needs it.
    """
    if start.unresolved is not None and run.newest is None:
        yield as_problem(start.unresolved)
    if start.checkpoint is not None and not start.checkpoint.exists():
        yield Problem(f"{start.setting}, which does not exist.", "Give the folder of a checkpoint.")


def check_model_is_here(hf_model: str) -> Iterator[Problem]:
    """Yield a problem if `recipe.hf_model` is a path that does not exist here.

    Ids are looked up on the hub later.
    """
    if is_path(hf_model) and not Path(hf_model).exists():
        yield Problem(f"recipe.hf_model is {hf_model}, which does not exist.", NAME_ONE)


def check_tokenizer_is_here(config: SftConfig, data: PreparedData) -> Iterator[Problem]:
    """Yield a problem if the tokenizer for training is not on this machine."""
    asked = config.tokenizer.get("tokenizer_model")
    used = asked or (data.tokenizer and data.tokenizer.model)
    if used and is_path(used) and not Path(used).exists():
        what = "tokenizer.tokenizer_model is" if asked else f"{data.reference} was made with the tokenizer"
        yield Problem(
            f"{what} {used}, which does not exist.",
            "Restore it, or use a copy: tokenizer.tokenizer_model=FOLDER",
        )


def check_artifacts(root: str) -> Iterator[Problem]:
    """Yield a problem if artifacts cannot be recorded in `run.artifacts`."""
    try:
        check_root(root)
    except UserError as error:
        yield as_problem(error)


def check_records(output: Path, checkpoints: Path, tensorboard: Path) -> Iterator[Problem]:
    """Yield a problem for each file or folder that cannot be written to.

    Otherwise training would find out when it writes it, after loading the model or even at its end.
    """
    for path in (checkpoints, tensorboard):
        if os.path.lexists(path) and not path.is_dir():
            yield Problem(
                f"{path} is no folder, but the run has to write in one there.",
                "Move it away, then run the same command again.",
            )
    for path in (output / name for name in _RECORDS):
        if not os.path.lexists(path):
            continue
        try:
            open_file(path, "r+b").close()
        except OSError as error:
            yield Problem(
                f"{path} cannot be read and written: {error.strerror or error}.",
                "Move it away, or correct its permissions, then run the same command again.",
            )
    replaced = [*(output / name for name in _REPLACED), checkpoints / RUN_RECORD, checkpoints / MANIFEST]
    for path in replaced:
        if path.is_dir():
            yield Problem(
                f"{path} is a folder, but the run has to write a file there.",
                "Move it away, then run the same command again.",
            )


def check_export(config: SftConfig) -> Iterator[Problem]:
    """Yield a problem if the export at the end would replace what is none."""
    if config.convert_to_hf.enabled:
        try:
            check_replaceable(config.exports_to, ADAPTER_CONFIG if config.convert_to_hf.adapter else "config.json")
        except UserError as error:
            yield Problem(error.message, "Set convert_to_hf.output_dir to a new or empty folder.")


def check_base_model(run: RunFolder) -> Iterator[Problem]:
    """Yield a problem if the base model of the resumed adapters is gone."""
    if run.lost_base is not None:
        yield as_problem(run.lost_base)


def check_backend(config: SftConfig, backend: Backend) -> Iterator[Problem]:
    """Yield a problem if `run.backend` or context parallelism lacks a GPU or kernels.

    Args:
        config: The training config.
        backend: The backend chosen for this machine.
    """
    asked, ranks = config.run.backend, config.model.get("context_parallel_size") or 1
    if ranks > 1 and backend.name != "production":
        yield Problem(
            f"model.context_parallel_size={ranks} needs Transformer Engine's attention, which "
            f"run.backend={backend.name} does not have.",
            "Leave it at 1, or train in the NeMo container.",
        )
    if asked in ("auto", "cpu"):
        return
    if not backend.gpu:
        yield Problem(
            f"run.backend={asked} needs a GPU, but this machine has none.",
            "Use run.backend=cpu, or run.backend=auto, which takes what is available.",
        )
    elif asked == "production" and backend.missing:
        yield Problem(
            f"run.backend=production needs {' and '.join(backend.missing)}, which this machine does not have.",
            "Train in the NeMo container, which has them, or use run.backend=torch: the same layers in plain torch.",
        )


def check_tracker_packages(config: SftConfig, environ: Mapping[str, str] = os.environ) -> Iterator[Problem]:
    """Yield a problem for each tracker that is on and not installed here.

    And for one without a key.
    """
    for tracker in TRACKERS:
        if config.logger.get(tracker.switch) and find_spec(tracker.module) is None:
            yield Problem(
                f"logger.{tracker.switch} is {config.logger[tracker.switch]}, and {tracker.name} is not installed.",
                f"Install it where the run trains: pip install {tracker.package}",
            )
    files = [*([environ["COMET_CONFIG"]] if "COMET_CONFIG" in environ else []), *_COMET_FILES]
    has_key = bool(environ.get(COMET_KEY)) or any(Path(file).expanduser().is_file() for file in files)
    if config.logger.get("comet_project") and not has_key:
        yield Problem("logger.comet_project is set, and there is no key for Comet here.", f"Set {COMET_KEY}.")
