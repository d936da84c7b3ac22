"""Call Megatron-Bridge's `finetune()` with a config, our step and callbacks."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from nemotron.config import Loaded
from nemotron.data_prep.collector import collect_rarely
from nemotron.files.paths import keep_sockets_short
from nemotron.training import bridge
from nemotron.training.backend import BackendName, use_backend
from nemotron.training.checkpoints.fingerprints import fingerprint_saves
from nemotron.training.checkpoints.run_folder import RunFolder
from nemotron.training.checkpoints.verified_parts import verify_parts
from nemotron.training.config import SftConfig
from nemotron.training.plan import Plan
from nemotron.training.prepared_data import PreparedData
from nemotron.training.ranks import is_first, is_first_here
from nemotron.training.reporting.failures import explain_failures
from nemotron.training.reporting.report.live import OnRecord
from nemotron.training.reporting.startup import Startup
from nemotron.training.shards import begin_check
from nemotron.training.stop_signals import heed_signals

if TYPE_CHECKING:
    from nemotron.lineage.wandb import Run


def run_finetune(
    loaded: Loaded[SftConfig],
    plan: Plan,
    data: PreparedData,
    run: RunFolder,
    backend: BackendName,
    say: Callable[[str], None],
    on_record: OnRecord,
    opened: "Run | None",
) -> bool:
    """Build the Megatron-Bridge config and hand it to `finetune()` with our step.

    Args:
        loaded: The config, with where each value came from.
        plan: What the run will do.
        data: The packs.
        run: Its folders.
        backend: What it computes on.
        say: Called on every rank with a line to show at once: a step of the start, a signal.
        on_record: Called with each record of metrics.jsonl ("train"), validation.jsonl ("valid") and test.jsonl
            ("test"), on the rank that writes them.
        opened: The W&B run that gets the curves, if there is one.

    Returns:
        Whether a signal or a time limit stopped training.
    """
    config = loaded.config
    bridge.check_release()
    keep_sockets_short()  # Megatron saves through multiprocessing
    # On one rank of each node, in the background while Megatron is imported.
    check = begin_check(data) if config.run.verify_data and is_first_here() else None
    startup = Startup(say)
    startup.step("Importing torch and Megatron-Bridge")
    with heed_signals(say) as signals, bridge.name_what_is_missing(), use_backend(backend) as apply_backend:
        with collect_rarely():
            from megatron.bridge.training.finetune import finetune

            from nemotron.training.objective.empty_batches import skip_empty_batches
            from nemotron.training.objective.forward_step import TwoStageStep
            from nemotron.training.recipe.build import build_recipe
            from nemotron.training.reporting.heldout_evaluation import evaluate_test_split
            from nemotron.training.reporting.metrics import MetricsWriter
            from nemotron.training.reporting.trackers import log_curves_to, open_mlflow
            from nemotron.training.weights.random_init import make_starting_checkpoint

        verify_parts()

        startup.step("Building the config")
        start, seed = plan.start.checkpoint, config.recipe.random_start
        if start is None and seed is not None:
            start = make_starting_checkpoint(config.recipe.hf_model, run.output.parent / "start", seed)
        # Adapters are continued on the model that they belong to. None leaves it to `checkpoint.load`.
        recipe = build_recipe(config, plan, data, run, loaded.origins, start or (run.base and run.base.folder))
        fingerprint_saves(type(recipe.container))
        apply_backend(recipe.container)
        open_mlflow(recipe.container.logger)
        if run.finished >= plan.train_iters:
            # Only the evaluations at the end are left. Otherwise it would write the last checkpoint twice. Without a
            # folder, Megatron-Bridge refuses async_save.
            recipe.container.checkpoint.save, recipe.container.checkpoint.async_save = None, False
        if is_first():
            for change in recipe.changes():
                print(change)
        step = TwoStageStep(
            plan.schedule, pads_conversations=data.pad_to_multiple > 1, sample_unit=config.loss.sample_unit
        )
        writer = MetricsWriter(run.output, plan.valid_packs, step, on_record)
        callbacks: list[Any] = [*bridge.installed().callbacks(), signals.callback(), skip_empty_batches(step), writer]
        if check is not None:
            callbacks.append(check.callback())
        if config.test.enabled:
            callbacks += evaluate_test_split(data, step, writer)
        startup.step("Starting Megatron")
        explained = explain_failures(writer, run.output / "train.log", run.checkpoints)
        with log_curves_to(opened), startup.follow_setup(), explained as ending:
            finetune(recipe.container, step, callbacks=callbacks)
    return ending.stopped
