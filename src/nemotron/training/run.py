"""A training run, from its config to its checkpoint: the order in which everything else here is called."""

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nemotron import lineage
from nemotron.config import Loaded
from nemotron.errors import UserError
from nemotron.training import bridge
from nemotron.training.checks import check_start
from nemotron.training.config import SftConfig
from nemotron.training.ending import explained
from nemotron.training.plan import Plan, make_plan
from nemotron.training.prepared import PreparedData, find_prepared_data
from nemotron.training.report import render_report
from nemotron.training.resume import (
    check_same_run,
    check_same_stages,
    checkpoint_folder,
    finished_iterations,
    read_records,
)

logger = logging.getLogger(__name__)

OnRecord = Callable[[str, dict[str, Any]], None]
"""Called as `on_record("start", {"train_iters": n, "finished": k})` once, then with each record of metrics.jsonl
("train"), validation.jsonl ("valid") and test.jsonl ("test")."""


@dataclass(frozen=True)
class TrainResult:
    """What a run made, and where."""

    plan: Plan
    output_dir: Path
    checkpoint: Path
    metrics: Path
    records: list[dict[str, Any]]
    """The records of metrics.jsonl, from iteration 1."""
    validation: list[dict[str, Any]]
    test: list[dict[str, Any]]
    """The records of test.jsonl: one, when the test split was evaluated."""
    report: Path
    """report.html: the curves."""
    resumed_from: int
    """Iterations that were finished before this run; `plan.train_iters` when there was nothing left to do."""
    finished: int
    """Iterations in the last checkpoint; fewer than `plan.train_iters` when a signal stopped the run."""
    artifact: str
    """The model artifact, as `name:version`; empty when the run was stopped."""
    hf_folder: Path | None
    """The Hugging Face export, when one was asked for."""


def train(loaded: Loaded[SftConfig], on_record: OnRecord | None = None) -> TrainResult:
    """Fine-tune as `loaded` says, or continue where a run in the same folder stopped.

    Under torchrun every rank calls this with the same arguments.

    Args:
        loaded: the config, with where each value came from.
        on_record: progress; when given, everything that Megatron prints goes to train.log instead of the terminal.

    Raises:
        UserError: whatever in the config, the data or the output folder does not fit.
    """
    config = loaded.config
    output = Path(config.run.output_dir).absolute()
    artifacts = Path(config.run.artifacts)
    data = find_prepared_data(config.run.data, artifacts, config_name=loaded.name)
    plan = make_plan(config, data)
    check_same_run(output, config, data)
    output.mkdir(parents=True, exist_ok=True)
    if _rank() == 0:
        (output / "config.yaml").write_text(loaded.to_yaml(), encoding="utf-8")

    checkpoints = checkpoint_folder(config, output)
    resumed_from = min(finished_iterations(checkpoints), plan.train_iters)
    check_same_stages(read_records(output / "metrics.jsonl"), plan.schedule, resumed_from)
    if config.test.enabled and resumed_from == plan.train_iters and not (output / "test.jsonl").exists():
        raise UserError(
            f"The run in {output} is finished; the test split is evaluated when training ends.",
            "Train further with a higher train.train_iters, or leave test.enabled out.",
        )
    if on_record is not None:
        on_record("start", {"train_iters": plan.train_iters, "finished": resumed_from})
    hf_folder, artifact = None, ""
    with _quiet(output / "train.log") if on_record is not None else contextlib.nullcontext():
        if resumed_from < plan.train_iters:
            _finetune(loaded, plan, data, output, on_record)
        finished = min(finished_iterations(checkpoints), plan.train_iters)
        if _rank() == 0 and finished == plan.train_iters and config.convert_to_hf.enabled:
            hf_folder = _export(config, data, output)

    records, validation, test = (read_records(output / f"{name}.jsonl") for name in ("metrics", "validation", "test"))
    report = output / "report.html"
    if _rank() == 0:
        title = f"{loaded.name}: {finished:,} of {plan.train_iters:,} iterations on {data.reference}"
        report.write_text(render_report(title, records, validation, test), encoding="utf-8")
        if finished == plan.train_iters:
            artifact = _log_model(config, data, output, records)
    return TrainResult(
        plan=plan,
        output_dir=output,
        checkpoint=checkpoints,
        metrics=output / "metrics.jsonl",
        records=records,
        validation=validation,
        test=test,
        report=report,
        resumed_from=resumed_from,
        finished=finished,
        artifact=artifact,
        hf_folder=hf_folder,
    )


def _finetune(
    loaded: Loaded[SftConfig], plan: Plan, data: PreparedData, output: Path, on_record: OnRecord | None
) -> None:
    """Build the Megatron-Bridge config and hand it to `finetune()` with our step."""
    config = loaded.config
    bridge.check_release()
    with bridge.named_when_missing(), _backend(config) as apply_backend:
        from megatron.bridge.training.finetune import finetune

        from nemotron.training.metrics import MetricsWriter
        from nemotron.training.recipe import build_recipe
        from nemotron.training.step import TwoStageStep

        recipe = build_recipe(config, plan, data, loaded.origins, _starting_checkpoint(config, output))
        apply_backend(recipe.container)
        for change in recipe.changes:
            logger.info("%s: %s (the recipe says %s)", change.key, change.ours, change.recipe)
        step = TwoStageStep(plan.schedule)
        writer = MetricsWriter(output, step, on_record)
        callbacks: list[Any] = [*bridge.installed().callbacks(), writer]
        if config.test.enabled:
            callbacks += _test_split(data, step, writer)
        with explained(writer, output / "train.log"):
            finetune(recipe.container, step, callbacks=callbacks)


def _test_split(data: PreparedData, step: Any, writer: Any) -> list[Any]:
    """What evaluates the test split at the end; nothing, with a line in the log, when it is empty."""
    from nemotron.training.final_test import TestSplit

    folder = data.folder("test")
    if folder is None:
        logger.warning("The test split is empty: no evaluation at the end.")
        return []
    return [TestSplit(folder, data.packs["test"], step, writer)]


def uses_cpu_backend(config: SftConfig) -> bool:
    """Whether the run needs the torch layers: asked for, or no CUDA device and nothing asked."""
    if config.run.backend != "auto":
        return config.run.backend == "cpu"
    import torch

    return not torch.cuda.is_available()


@contextlib.contextmanager
def _backend(config: SftConfig) -> Iterator[Callable[[Any], None]]:
    """Make Megatron importable and runnable here; yields what adapts a ConfigContainer to the backend."""
    for name, value in (("RANK", "0"), ("LOCAL_RANK", "0"), ("WORLD_SIZE", "1"), ("MASTER_ADDR", "127.0.0.1")):
        os.environ.setdefault(name, value)
    os.environ.setdefault("MASTER_PORT", _free_port())
    if not uses_cpu_backend(config):
        yield lambda container: None
        return
    from nemotron.training import cpu

    with cpu.backend():
        yield cpu.apply


def _starting_checkpoint(config: SftConfig, output: Path) -> Path | None:
    """The Megatron checkpoint to start from: the path given, the artifact given, or random weights made on first use.

    Raises:
        UserError: none of them is there.
    """
    check_start(config)
    given = config.checkpoint.get("pretrained_checkpoint")
    if given is not None:
        path = Path(given)
        if not path.exists():
            raise UserError(
                f"checkpoint.pretrained_checkpoint is {given}, which does not exist.",
                "Give the folder of a checkpoint.",
            )
        return path
    if config.run.model is not None:
        artifact = lineage.resolve(
            config.run.model, Path(config.run.artifacts), hint="Set run.model to a model artifact."
        )
        return Path(artifact.path)
    from nemotron.training.start import make_starting_checkpoint

    assert config.recipe.random_start is not None  # the last of the three that check_start knows
    return make_starting_checkpoint(config.recipe.hf_model, output.parent / "start", config.recipe.random_start)


def _export(config: SftConfig, data: PreparedData, output: Path) -> Path:
    from nemotron.training.export import export_hf
    from nemotron.training.recipe import tokenizer_of

    folder = Path(config.convert_to_hf.output_dir or output / "hf")
    export_hf(checkpoint_folder(config, output), folder, config.recipe.hf_model, tokenizer_of(data))
    return folder


def _log_model(config: SftConfig, data: PreparedData, output: Path, records: list[dict[str, Any]]) -> str:
    last = records[-1] if records else {}
    artifact = lineage.log_artifact(
        name="ModelArtifact-sft",
        type="model",
        path=checkpoint_folder(config, output),
        metadata={key: last.get(key) for key in ("iteration", "loss_stage", "token_loss", "sample_loss")},
        inputs=[data.reference, *_model_input(config)],
        aliases=["latest"],
        root=Path(config.run.artifacts),
        wandb_project=config.logger.get("wandb_project"),
        wandb_entity=config.logger.get("wandb_entity"),
    )
    return artifact.reference


def _model_input(config: SftConfig) -> list[str]:
    """What the run started from, as lineage records it: the checkpoint's path, or the artifact's exact version."""
    if given := config.checkpoint.get("pretrained_checkpoint"):
        return [str(given)]
    if config.run.model is None:
        return []
    return [lineage.resolve(config.run.model, Path(config.run.artifacts)).reference]


@contextlib.contextmanager
def _quiet(log: Path) -> Iterator[None]:
    """Send what Python code prints to a log file while somebody else shows progress."""
    with (
        log.open("a", encoding="utf-8", buffering=1) as file,
        contextlib.redirect_stdout(file),
        contextlib.redirect_stderr(file),
    ):
        yield


def _rank() -> int:
    return int(os.environ.get("RANK", "0"))


def _free_port() -> str:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])
