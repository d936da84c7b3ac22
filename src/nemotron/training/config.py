"""Define the training config: the schema of `config/default.yaml` and others.

Sections typed as a dataclass are ours and are checked when the file is read. Sections typed `dict` belong to
Megatron-Bridge (`ConfigContainer` and its parts); their keys are checked against the installed release by
`recipe/build.py`, with the same messages, before anything is built.
"""

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal

from nemotron.config import Alternatives, PathKeys, PathSetting, Word


@dataclass
class RunConfig:
    """Where the run reads and writes, and what it runs on."""

    data: PathSetting = "SFTDataArtifact-sft:latest"
    """Prepared data: an artifact reference (`name`, `name:alias`, `name:v3`) or a folder that data prep wrote."""
    model: PathSetting | None = None
    """Starting model: an artifact reference. For a path, set `checkpoint.pretrained_checkpoint` instead."""
    output_dir: PathSetting = "output/sft"
    """Folder for checkpoints, metrics.jsonl, logs and the resolved config."""
    artifacts: PathSetting = "output/artifacts"
    """The folder of the artifact records that `data` and `model` refer to."""
    backend: Literal["auto", "production", "torch", "cpu"] = "auto"
    """`production`: Transformer Engine and Mamba kernels, as in the NeMo container. `torch`: the same architecture in
    plain torch, for GPUs without these. `cpu`: the same on the CPU, in float32. `auto`: `cpu` without a CUDA device,
    `production` if its packages are installed, else `torch`."""
    nproc_per_node: int | Literal["auto"] = "auto"
    """Number of processes on this machine without a profile. `auto`: one per GPU, or one without a GPU."""
    verify_data: bool = True
    """Read every shard once at the start, on one rank per node, and compare it with what data prep wrote; later check
    whether a shard changes."""
    gpu_memory_gb: float = 80.0
    """Memory of each GPU in 10^9 bytes. The plan says if its estimate for a rank is larger."""
    gpu_headroom_gb: float = 12.0
    """Memory that the estimate must leave free for communication buffers, kernel workspaces and fragmentation."""
    env: dict[str, Any] = field(default_factory=dict)
    """What a launched job needs: `container`, the image for profiles without one."""


@dataclass
class RecipeConfig:
    """Which model to fine-tune."""

    hf_model: PathSetting = "nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-BF16"
    """A Hugging Face id or folder. Its config.json gives the architecture; its weights are not read."""
    random_start: int | None = None
    """A seed: start from random weights, made on first use, instead of a checkpoint. For tests and the tiny model."""


SampleUnit = Literal["sequence", "conversation"]


@dataclass
class StageConfig:
    """One stage of the loss."""

    average: Literal["token", "sample"] = "token"
    """`token`: the average over all supervised tokens of the global batch. `sample`: the average over samples (see
    `sample_unit`) of each sample's own average."""
    start: int | float = 0
    """When the stage starts: an int is a number of finished iterations, a float a fraction of train_iters."""


@dataclass
class LossConfig:
    """The two-stage loss."""

    stages: list[StageConfig] = field(default_factory=lambda: [StageConfig()])
    """Stages in order; the first one starts at 0."""
    sample_unit: SampleUnit = "sequence"
    """What a sample is. `sequence`: a training sequence. `conversation`: all sequences of a conversation together; each
    is weighted by its share of the conversation's supervised tokens."""


_ADAPTED = {
    "lora": ("linear_qkv", "linear_proj", "linear_fc1", "linear_fc2", "in_proj", "out_proj"),
    # Only shared experts, and not the Mamba input projection: see checks/settings.py.
    "dora": ("linear_qkv", "linear_proj", "out_proj", "*.shared_experts.linear_fc1", "*.shared_experts.linear_fc2"),
}


@dataclass
class PeftConfig:
    """Parameter-efficient fine-tuning. Without it, every weight is trained."""

    scheme: Literal["lora", "dora"] = "lora"
    """Kind of adapters. DoRA supports neither `in_proj` nor the routed experts."""
    target_modules: list[str] = None  # pyright: ignore[reportAssignmentType] - never None after __post_init__
    """Linear layers, by name or pattern. Default: all that the scheme supports."""
    dim: int = 32
    """Rank of the update."""
    alpha: int = 32
    """The update is scaled by alpha / dim."""
    dropout: float = 0.0
    """Dropout of the adapters' input."""

    def __post_init__(self) -> None:
        """Fill in the target modules."""
        if self.target_modules is None:
            self.target_modules = [*_ADAPTED[self.scheme]]

    @property
    def adapts_routed_experts(self) -> bool:
        """Whether the target modules name layers of the routed experts."""
        lasts = [target.rsplit(".", 1)[-1] for target in self.target_modules if "shared_experts" not in target]
        return any(fnmatchcase(name, last) for name in ("linear_fc1", "linear_fc2") for last in lasts)


@dataclass
class TestSplitConfig:
    """The test split, which training never sees."""

    __test__ = False  # this is not a test class for pytest

    enabled: bool = False
    """Evaluate the whole split when training ends; the losses go to test.jsonl."""


@dataclass
class ConvertToHfConfig:
    """Export to Hugging Face format when training ends."""

    enabled: bool = False
    """Export when training ends."""
    adapter: bool = False
    """For a LoRA run: export only the adapters, for peft, instead of the merged model."""
    output_dir: PathSetting | None = None
    """Folder of the export; default `<run.output_dir>/hf`, or `<run.output_dir>/adapter` for adapters."""
    timeout_minutes: int = 240
    """How long the other ranks wait while the first one exports; on Slurm, srun waits as long."""


_PATHS = {
    "model": PathKeys("config_logger_dir"),
    "optimizer": PathKeys("config_logger_dir"),
    "dataset": PathKeys("dataloader_load", "dataloader_save"),
    "dist": PathKeys("nccl_communicator_config_path", "flight_recorder_dump_path"),
    "checkpoint": PathKeys(
        "save",
        "load",
        "pretrained_checkpoint",
        "ckpt_convert_save",
        "hf_source_path",
        "non_persistent_global_ckpt_dir",
        "non_persistent_local_ckpt_dir",
    ),
    "logger": PathKeys("tensorboard_dir", "wandb_save_dir", "save_config_filepath", "moe_routing_trace_path"),
    "tokenizer": PathKeys("tokenizer_model", "chat_template_path", "metadata_path", "vocab_file", "merge_file"),
    "profiling": PathKeys("memory_snapshot_path"),
}
"""The paths among Megatron-Bridge's settings."""


_ALTERNATIVES = (
    Alternatives("what a run starts from", ("checkpoint.pretrained_checkpoint", "run.model", "recipe.random_start")),
    Alternatives("the length of the run", ("train.train_iters", "train.train_samples", "train.num_epochs")),
    Alternatives(
        "the warm-up",
        ("scheduler.lr_warmup_iters", "scheduler.lr_warmup_samples", "scheduler.lr_warmup_fraction"),
        zero_is_off=True,
    ),
    Alternatives(
        "the length of the decay", ("scheduler.lr_decay_iters", "scheduler.lr_decay_samples", "scheduler.max_steps")
    ),
    Alternatives("the final decay", ("scheduler.lr_wsd_decay_iters", "scheduler.lr_wsd_decay_samples")),
)
"""Settings with several keys, of which the one that was written last is in effect."""


@dataclass
class SftConfig:
    """The whole training config."""

    ALTERNATIVES = _ALTERNATIVES
    # Keys of the 0.4 line and of Megatron-LM that are training's.
    SYNONYMS = (("train.eval_iters", "validation.eval_iters"), ("train.eval_interval", "validation.eval_interval"))
    WORDS = (Word("peft", "scheme", brings="lora"),)

    run: RunConfig = field(default_factory=RunConfig)
    recipe: RecipeConfig = field(default_factory=RecipeConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    peft: PeftConfig | None = None
    test: TestSplitConfig = field(default_factory=TestSplitConfig)
    convert_to_hf: ConvertToHfConfig = field(default_factory=ConvertToHfConfig)

    # Megatron-Bridge's own sections, named as in its ConfigContainer.
    model: Annotated[dict[str, Any], _PATHS["model"]] = field(default_factory=dict)
    train: dict[str, Any] = field(default_factory=dict)
    validation: dict[str, Any] = field(default_factory=dict)
    optimizer: Annotated[dict[str, Any], _PATHS["optimizer"]] = field(default_factory=dict)
    scheduler: dict[str, Any] = field(default_factory=dict)
    dataset: Annotated[dict[str, Any], _PATHS["dataset"]] = field(default_factory=dict)
    ddp: dict[str, Any] = field(default_factory=dict)
    dist: Annotated[dict[str, Any], _PATHS["dist"]] = field(default_factory=dict)
    checkpoint: Annotated[dict[str, Any], _PATHS["checkpoint"]] = field(default_factory=dict)
    logger: Annotated[dict[str, Any], _PATHS["logger"]] = field(default_factory=dict)
    tokenizer: Annotated[dict[str, Any], _PATHS["tokenizer"]] = field(default_factory=dict)
    rng: dict[str, Any] = field(default_factory=dict)
    rerun_state_machine: dict[str, Any] = field(default_factory=dict)
    mixed_precision: dict[str, Any] | str | None = "bf16_mixed"
    """Megatron-Bridge's name of a preset, or changes to the recipe's. null: float32 everywhere."""
    comm_overlap: dict[str, Any] | None = None
    profiling: Annotated[dict[str, Any], _PATHS["profiling"]] | None = None
    env_vars: dict[str, Any] = field(default_factory=dict)
    """Environment variables that training sets before it starts."""

    @property
    def saves_to(self) -> Path:
        """Where the run saves, as an absolute path.

        That is checkpoint.save, or `checkpoints` in its output folder.
        """
        return Path(self.checkpoint.get("save") or Path(self.run.output_dir) / "checkpoints").absolute()

    @property
    def tensorboard_in(self) -> Path:
        """The folder of TensorBoard's logs."""
        return Path(self.logger.get("tensorboard_dir") or Path(self.run.output_dir) / "tb_logs").absolute()

    @property
    def exports_to(self) -> Path:
        """The folder of the export when training ends, if there is one."""
        default = "adapter" if self.convert_to_hf.adapter else "hf"
        return Path(self.convert_to_hf.output_dir or Path(self.run.output_dir) / default).absolute()

    @property
    def other_run(self) -> Path | None:
        """The absolute path of checkpoint.load, unless it is where this run saves.

        That is how Megatron is told to resume: a new run starts where there is no checkpoint yet.
        """
        load = self.checkpoint.get("load")
        if load is None or Path(load).resolve() == self.saves_to.resolve():
            return None
        return Path(load).absolute()


MEGATRON_SECTIONS = (
    "model",
    "train",
    "validation",
    "optimizer",
    "scheduler",
    "dataset",
    "ddp",
    "dist",
    "checkpoint",
    "logger",
    "tokenizer",
    "rng",
    "rerun_state_machine",
    "mixed_precision",
    "comm_overlap",
    "profiling",
)
