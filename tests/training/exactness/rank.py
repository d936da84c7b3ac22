"""What each process of a layout does: Megatron-Bridge's own `finetune()` with our step, and a record of two steps.

Adapters are then trained for three more, and saved.
"""

import os
from pathlib import Path
from typing import Any

import torch
from tests.training.exactness.batches import Batch
from tests.training.exactness.layouts import Layout
from tests.training.exactness.shards import Shard, gradients_in_place_of_weights, shards_of
from tests.training.exactness.weights import make_weight

REPOSITORY = Path(__file__).parents[3]
TOKENIZER = REPOSITORY / "config" / "data_prep" / "tiny" / "tokenizer"
MODEL = REPOSITORY / "config" / "tiny_model"
AUX_COEFFICIENT = 0.1
"""A thousand times the model's own, so that a mistake in the auxiliary loss could not hide in rounding."""

SETTINGS = (
    # One step of each stage on the same batch and the same weights: nothing may move in between.
    "loss.stages=[{average: token}, {average: sample, start: 1}]",
    "optimizer.weight_decay=0",
    "scheduler.start_weight_decay=0",
    "scheduler.end_weight_decay=0",
    "scheduler.lr_warmup_iters=0",
    f"model.moe_aux_loss_coeff={AUX_COEFFICIENT}",
    # The norm is computed, and never reached.
    "optimizer.clip_grad=1e9",
)

WEIGHT_SETTINGS = ("train.train_iters=2", "optimizer.lr=0", "model.moe_router_bias_update_rate=0")
ADAPTER_SETTINGS = ("train.train_iters=5", "optimizer.lr=1e-3", "optimizer.min_lr=1e-3")
"""Weights are put back after the first two steps, and move in the last three."""

BACKEND = "NEMOTRON_EXACTNESS_BACKEND"
"""The environment variable that says on what the layouts are trained; unset: on the CPU."""
ON = {"cpu": ("run.backend=cpu",), "torch": ("run.backend=torch", "mixed_precision=null")}


def train(layout: Layout, batch: Batch, prepared: Path, folder: Path) -> None:
    """Run two steps of a layout as one of its ranks; RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT say which.

    Args:
        prepared: Folder with the batch as a `train` split.
        folder: Of the layout; this rank's records go to rank<n>.pt.
    """
    from nemotron.config import load_config
    from nemotron.training.backend import choose_backend, use_backend
    from nemotron.training.checkpoints.initial_weights import find_start
    from nemotron.training.checkpoints.run_folder import find_run_folder
    from nemotron.training.config import SftConfig
    from nemotron.training.counts import count_run
    from nemotron.training.plan import make_plan
    from nemotron.training.prepared_data import DataTokenizer, PreparedData

    overrides = [
        *SETTINGS,
        *(ADAPTER_SETTINGS if layout.adapters else WEIGHT_SETTINGS),
        *ON[os.environ.get(BACKEND, "cpu")],
        *layout.overrides,
        f"run.output_dir={folder}",
        f"train.global_batch_size={len(batch.packs)}",
    ]
    loaded = load_config("tiny_lora" if layout.adapters else "tiny", overrides, schema=SftConfig)
    data = PreparedData(
        "exactness",
        prepared,
        packs={"train": len(batch.packs)},
        pack_size=batch.pack_size,
        pad_to_multiple=batch.pad_to_multiple,
        tokenizer=DataTokenizer(str(TOKENIZER)),
    )
    run, start = find_run_folder(loaded.config), find_start(loaded.config)
    plan = make_plan(loaded.config, count_run(loaded.config, data), data, start, run)
    with use_backend(choose_backend(loaded.config.run.backend).name) as adapt:
        from megatron.bridge.training.finetune import finetune
        from megatron.bridge.training.gpt_step import forward_step

        from nemotron.training.objective.forward_step import TwoStageStep
        from nemotron.training.recipe.build import build_recipe
        from nemotron.training.weights.random_init import make_starting_checkpoint

        container = build_recipe(loaded.config, plan, data, run, loaded.origins, None).container
        adapt(container)
        # Loaded because finetune() insists; the recorder overwrites it.
        start = make_starting_checkpoint(MODEL, folder.parent / "start", seed=1)
        container.checkpoint.pretrained_checkpoint = str(start)
        if not layout.adapters:
            container.checkpoint.save = None
        recorder = make_recorder(layout.adapters)
        unit = loaded.config.loss.sample_unit
        ours = TwoStageStep(plan.schedule, pads_conversations=batch.pad_to_multiple > 1, sample_unit=unit)
        step = forward_step if layout.stock_step else ours
        finetune(container, step, callbacks=[recorder])
    torch.save(vars(recorder), folder / f"rank{os.environ['RANK']}.pt")


def make_recorder(adapters: bool) -> Any:
    """A Megatron-Bridge callback that puts our weights into the model and keeps what each step left behind.

    Args:
        adapters: Whether only these are trained, and trained on after the steps that are kept.
    """
    from megatron.bridge.training.callbacks import Callback, CallbackContext

    def is_trained(name: str) -> bool:
        return ".adapter." in name if adapters else not name.endswith("expert_bias")

    class Recorder(Callback):
        def __init__(self) -> None:
            self.parameters = {"dense": 0, "experts": 0}
            self.frozen: dict[str, tuple[int, ...]] = {}
            """Shapes of the weights that are not trained."""
            self.steps: list[dict[str, Any]] = []
            """Of each stage: gradients as arguments of Shard, losses and the norm; of later steps the last two."""
            self.start: list[tuple[Any, ...]] = []
            """Adapters as Megatron-Bridge makes them, and as they are in the end; as arguments of Shard."""
            self.trained: list[tuple[Any, ...]] = []
            self.moved: list[str] = []
            """Names of frozen weights that are not what they were."""

        @torch.no_grad()
        def on_train_start(self, context: CallbackContext) -> None:
            for chunk in context.model:
                for parameter in chunk.parameters():
                    # Megatron marks what expert parallelism divides (megatron/core/transformer/moe/experts.py).
                    kind = "dense" if getattr(parameter, "allreduce", True) else "experts"
                    self.parameters[kind] += parameter.numel()
            if adapters:
                self.start = [copied(shard) for shard in shards_of(context.model) if is_trained(shard.name)]
            self.put_weights(context)

        @torch.no_grad()
        def put_weights(self, context: CallbackContext) -> None:
            for shard in shards_of(context.model):
                if not is_trained(shard.name):
                    self.frozen[shard.name] = shard.whole_shape
                shard.data.copy_(made(shard))

        @torch.no_grad()
        def on_train_step_end(self, context: CallbackContext) -> None:
            losses = {name: float(value) for name, value in (context.loss_dict or {}).items()}
            self.steps.append({"losses": losses, "norm": float(context.grad_norm or 0)})
            if len(self.steps) > 2:
                return
            with gradients_in_place_of_weights(context.model):
                gradients = [copied(shard) for shard in shards_of(context.model) if is_trained(shard.name)]
            self.steps[-1]["gradients"] = gradients
            if adapters:
                self.put_weights(context)

        @torch.no_grad()
        def on_train_end(self, context: CallbackContext) -> None:
            if adapters:
                for shard in shards_of(context.model):
                    if is_trained(shard.name):
                        self.trained.append(copied(shard))
                    elif not torch.equal(shard.data, made(shard)):
                        self.moved.append(shard.name)

    return Recorder()


def made(shard: Shard) -> torch.Tensor:
    """What we put into this part of a weight."""
    return make_weight(shard.name, shard.whole_shape)[shard.region].view_as(shard.data).to(shard.data)


def copied(shard: Shard) -> tuple[Any, ...]:
    return shard.name, shard.whole_shape, shard.offset, shard.data.cpu().clone()
