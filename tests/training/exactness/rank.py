"""What each process of a layout does: Megatron-Bridge's own `finetune()` with our step, and a record of two steps."""

import os
from pathlib import Path
from typing import Any

import torch
from tests.training.exactness.batches import Batch
from tests.training.exactness.layouts import Layout
from tests.training.exactness.shards import gradients_in_place_of_weights, shards_of
from tests.training.exactness.weights import make_weight

REPOSITORY = Path(__file__).parents[3]
TOKENIZER = REPOSITORY / "config" / "data_prep" / "tiny" / "tokenizer"
MODEL = REPOSITORY / "config" / "tiny_model"
AUX_COEFFICIENT = 0.1
"""A thousand times the model's own, so that a mistake in the auxiliary loss could not hide in rounding."""

SETTINGS = (
    # One step of each stage on the same batch and the same weights: nothing may move in between.
    "loss.stages=[{average: token}, {average: sample, start: 1}]",
    "train.train_iters=2",
    "optimizer.lr=0",
    "optimizer.weight_decay=0",
    "scheduler.start_weight_decay=0",
    "scheduler.end_weight_decay=0",
    "scheduler.lr_warmup_iters=0",
    "model.moe_router_bias_update_rate=0",
    f"model.moe_aux_loss_coeff={AUX_COEFFICIENT}",
    # The norm is computed, and never reached.
    "optimizer.clip_grad=1e9",
)

BACKEND = "NEMOTRON_EXACTNESS_BACKEND"
"""The environment variable that says on what the layouts are trained; unset: on the CPU."""
ON = {"cpu": ("run.backend=cpu",), "torch": ("run.backend=torch", "mixed_precision=null")}


def train(layout: Layout, batch: Batch, prepared: Path, folder: Path) -> None:
    """Run two steps of a layout as one of its ranks; RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT say which.

    Args:
        prepared: folder with the batch as a `train` split.
        folder: of the layout; this rank's records go to rank<n>.pt.
    """
    from nemotron.config import load_config
    from nemotron.training.backend import choose_backend, use_backend
    from nemotron.training.checkpoints.initial_weights import find_start
    from nemotron.training.checkpoints.run_folder import find_run_folder
    from nemotron.training.config import SftConfig
    from nemotron.training.plan import count_run, make_plan
    from nemotron.training.prepared_data import DataTokenizer, PreparedData

    overrides = [
        *SETTINGS,
        *ON[os.environ.get(BACKEND, "cpu")],
        *layout.overrides,
        f"run.output_dir={folder}",
        f"train.global_batch_size={len(batch.packs)}",
    ]
    loaded = load_config("tiny", overrides, schema=SftConfig)
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
        container.checkpoint.save = None
        recorder = make_recorder()
        ours = TwoStageStep(plan.schedule, pads_conversations=batch.pad_to_multiple > 1)
        step = forward_step if layout.stock_step else ours
        finetune(container, step, callbacks=[recorder])
    torch.save(recorder.steps, folder / f"rank{os.environ['RANK']}.pt")


def make_recorder() -> Any:
    """A Megatron-Bridge callback that puts our weights into the model and keeps what each step left behind."""
    from megatron.bridge.training.callbacks import Callback, CallbackContext

    class Recorder(Callback):
        def __init__(self) -> None:
            self.steps: list[dict[str, Any]] = []
            self.parameters = {"dense": 0, "experts": 0}

        @torch.no_grad()
        def on_train_start(self, context: CallbackContext) -> None:
            for chunk in context.model:
                for parameter in chunk.parameters():
                    # Megatron marks what expert parallelism divides (megatron/core/transformer/moe/experts.py).
                    kind = "dense" if getattr(parameter, "allreduce", True) else "experts"
                    self.parameters[kind] += parameter.numel()
            for shard in shards_of(context.model):
                whole = make_weight(shard.name, shard.whole_shape)
                shard.data.copy_(whole[shard.region].view_as(shard.data))

        def on_train_step_end(self, context: CallbackContext) -> None:
            with gradients_in_place_of_weights(context.model):
                shards = [shard for shard in shards_of(context.model) if not shard.name.endswith("expert_bias")]
                gradients = [(s.name, s.whole_shape, s.offset, s.data.cpu().clone()) for s in shards]
            losses = {name: float(value) for name, value in (context.loss_dict or {}).items()}
            norm = float(context.grad_norm or 0)
            self.steps.append({"gradients": gradients, "losses": losses, "norm": norm, "parameters": self.parameters})

    return Recorder()
