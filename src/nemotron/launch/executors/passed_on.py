"""Submit stages through NeMo-Run's cloud executors.

Each executor gets its own fields from the profile.
"""

import importlib.util
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from nemotron.config import is_secret
from nemotron.errors import Problem, UserError
from nemotron.launch.executors.slurm import block_input, import_nemo_run
from nemotron.launch.package import LAUNCH_SCRIPT, write_package
from nemotron.launch.placement import JOB_MOUNT, Placement
from nemotron.launch.profiles.fields import CLASSES, executor_fields
from nemotron.launch.secrets import HANDED_ON
from nemotron.launch.shell import LaunchError
from nemotron.secrets import mask_tree

_PACKAGES = {
    "skypilot": ("sky", "nemo_run[skypilot]"),
    "skypilot_jobs": ("sky", "nemo_run[skypilot]"),
    "lepton": ("leptonai", "leptonai<0.47"),
    "dgxcloud": ("requests", "requests"),
    "kubeflow": ("kubernetes", "nemo_run[kubeflow]"),
}
"""The module that an executor imports, and what to install for it."""
FOLLOWED_WITH = {
    "skypilot": "sky queue, sky logs, sky cancel",
    "skypilot_jobs": "sky jobs queue, sky jobs logs, sky jobs cancel",
    "lepton": "lep job list, lep job log, lep job remove",
    "dgxcloud": "the DGX Cloud console",
    "kubeflow": "kubectl get trainjobs, kubectl logs",
}
"""Commands that show and cancel an executor's jobs."""


def check_packages(placements: Sequence[Placement]) -> Iterator[Problem]:
    """Yield a problem if the executor's package is not installed."""
    executor = placements[0].profile.executor
    if executor in _PACKAGES and importlib.util.find_spec(_PACKAGES[executor][0]) is None:
        package, install = _PACKAGES[executor]
        yield Problem(
            f'executor = "{executor}" needs the package {package}, which is not installed.',
            f"Install it next to this package: uv pip install '{install}'",
        )


def mask_options(placement: Placement) -> dict[str, Any]:
    """List the executor's fields as a plan shows them, with secrets as `***`."""
    options = placement.profile.options
    return {
        name: "***" if is_secret(name) and isinstance(value, str) else mask_tree(value)
        for name, value in options.items()
    }


def find_unsent_secrets(placement: Placement) -> list[str]:
    """List the secrets in this environment that other executors would pass to the job."""
    return [name for name in HANDED_ON if name in os.environ] if placement.profile.is_passed_on else []


def run_passed_on(
    placements: Sequence[Placement], *, attached: bool, on_submitted: Callable[[Placement, str], object]
) -> int:
    """Submit placed stages through NeMo-Run.

    If attached, the stages run one after the other, and each is waited for.

    Args:
        placements: The stages, in order; only one if detached.
        attached: Whether to wait, and print what the executor streams.
        on_submitted: Called with a stage and NeMo-Run's handle of its job.

    Returns:
        1 if a stage failed (no further stage is started), else 0.

    Raises:
        LaunchError: The executor did not accept a job; the message has its own words.
    """
    for placement in placements:
        with open_experiment(placement) as experiment:
            try:
                experiment.run(detach=not attached, tail_logs=attached)
            except Exception as error:
                words = str(error).strip() or type(error).__name__
                raise LaunchError(
                    f"{placement.profile.executor} did not accept the job of profile {placement.profile.name}: {words}",
                    f"Correct [{placement.profile.name}] in {placement.profile.source}.",
                ) from error
            [job] = experiment.jobs
            on_submitted(placement, str(job.handle))
        if attached and str(getattr(job.state, "name", job.state)) != "SUCCEEDED":
            return 1
    return 0


def describe_request(placement: Placement) -> str:
    """Describe what NeMo-Run would submit, as far as is known without the service."""
    with open_experiment(placement) as experiment:
        experiment.dryrun(log=False, delete_exp_dir=False)
        [job] = experiment.jobs
        request = job._dryrun_info.request
        if placement.profile.executor == "kubeflow":
            return yaml.safe_dump(job.executor.get_job_body(job.id, request.cmd), sort_keys=False)
        if placement.profile.executor.startswith("skypilot"):
            return yaml.safe_dump(request.task.to_yaml_config(), sort_keys=False)
        return " ".join(request.cmd)


@contextmanager
def open_experiment(placement: Placement) -> Iterator[Any]:
    """Enter a NeMo-Run Experiment of one stage, with its own NeMo-Run home.

    NeMo-Run writes the executor's fields, including credentials, to its home and never removes them. Here the home is a
    private temporary folder.
    """
    run = import_nemo_run()
    from nemo_run.config import get_nemorun_home, set_nemorun_home

    before = get_nemorun_home()
    with tempfile.TemporaryDirectory(prefix="nemotron-") as home, block_input():
        set_nemorun_home(home)
        _move_records(placement.profile.executor, home)
        manager = run.Experiment(
            placement.experiment.partition("_")[0],
            id=f"{placement.experiment}-{placement.stage.name}",
            base_dir=home,
            log_level="ERROR",
            clean_mode=True,
            enable_goodbye_message=False,
            skip_status_at_exit=True,
            serialize_metadata_for_scripts=False,
        )
        try:
            with manager as opened:
                executor = _add_stage(opened, placement)
                # We fill the folder ourselves; NeMo-Run's packagers would add the repository, or require one.
                executor.packager = run.Packager()
                executor.create_job_dir = lambda: _fill(Path(executor.job_dir, "code"), placement)
                yield opened
        finally:
            set_nemorun_home(before)


def _fill(code: Path, placement: Placement) -> None:
    if not code.exists():  # NeMo-Run prepares an experiment twice
        write_package(code, placement)


def _add_stage(experiment: Any, placement: Placement) -> Any:
    """Add the stage to the experiment, and return its executor.

    Raises:
        UserError: A variable is not set, or the executor refuses its fields.
    """
    profile = placement.profile
    options = make_options(placement)
    run, name = import_nemo_run(), placement.stage.name
    try:
        executor = getattr(run, CLASSES[profile.executor])(**options)
        experiment.add(run.Script(path=f"{JOB_MOUNT}/code/{LAUNCH_SCRIPT}"), executor=executor, name=name)
        job = experiment.jobs[0]
        if profile.executor == "kubeflow":  # its own launch.sh would replace ours in /nemo_run/code
            job.task.path = f"{job.executor.code_dir}/code/{LAUNCH_SCRIPT}"
        return job.executor
    except (AssertionError, ImportError, ValueError, TypeError) as error:
        raise UserError(
            f"{profile.executor} refuses the fields of profile {profile.name}: {error}",
            f"Correct [{profile.name}] in {profile.source}.",
        ) from error


def make_options(placement: Placement) -> dict[str, Any]:
    """Return the executor's fields from the profile, for this stage's nodes.

    A value `$NAME` is read from the environment.

    Raises:
        UserError: A variable is not set.
    """
    profile = placement.profile
    options = {name: _from_environment(name, value, placement) for name, value in profile.options.items()}
    sizes = [name for name in ("nodes", "num_nodes") if name in executor_fields(profile.executor)]
    return options | dict.fromkeys(sizes, placement.nodes)


def _from_environment(name: str, value: Any, placement: Placement) -> Any:
    if not (isinstance(value, str) and value.startswith("$") and value[1:].isidentifier()):
        return value
    if value[1:] not in os.environ:
        raise UserError(
            f"{placement.profile.source}: {name} of profile {placement.profile.name} is read from {value}, "
            "which is not set.",
            f"Set it: export {value[1:]}=...",
        )
    return os.environ[value[1:]]


def _move_records(executor: str, home: str) -> None:
    """Make NeMo-Run's scheduler keep its record of jobs in `home`.

    The path is a module variable, set when the scheduler is imported.
    """
    module = importlib.import_module(f"nemo_run.run.torchx_backend.schedulers.{executor}")
    for name in [name for name in vars(module) if name.endswith("_JOB_DIRS")]:
        setattr(module, name, os.path.join(home, ".jobs.json"))
