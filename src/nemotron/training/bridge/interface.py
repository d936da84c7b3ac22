"""Define the interface that each release line of Megatron-Bridge implements here."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from megatron.bridge.training.config import ConfigContainer
    from torch import Tensor


@dataclass(frozen=True)
class Packs:
    """The packs that a run reads."""

    train: Path
    """A folder of Parquet shards, one pack per row."""
    valid: Path | None
    pack_size: int
    """Tokens of a padded pack; also the model's sequence length."""
    options: Mapping[str, Any]
    """`dataset.*` of the YAML: further fields of `Line.dataset_config()`, and `pad_seq_to_mult` of
    PackedSequenceSpecs."""
    conversation_targets: bool
    """Whether batches get that column (training/conversation_targets.py); so do those of the valid split and of
    `Line.split_iterator`."""


@dataclass(frozen=True)
class MicroBatch:
    """One pack, ready for the model."""

    inputs: dict[str, Any]
    """Arguments of the model's forward pass, except the loss mask."""
    weights: "Tensor | None"
    """What replaces the loss mask, float32 [1, tokens]; None except on the last pipeline stage."""


@dataclass(frozen=True)
class HybridStack:
    """Megatron-Core's stack of Mamba, attention and expert layers, by a line's names."""

    block: ModuleType
    """The module that defines it, and uses TENorm for the norm after the last layer."""
    stack: type
    submodules: type
    spec_field: str
    """The field of the model provider that takes a spec of the stack."""
    modules: tuple[str, ...]
    """Modules that define its production spec, and the model around it."""


class Line(Protocol):
    """A line of releases with one API.

    Functions import Megatron when they are called, and raise UserError if it lacks what they need.
    """

    NAME: str
    """Its number, for messages."""

    IMPORTS_CUDA_PACKAGES: tuple[str, ...]
    """Modules that always import packages which exist only for CUDA."""

    FROM_DATA: frozenset[str]
    """Settings of the dataset that follow from the packs."""

    MASKS_PADDING: bool
    """Whether padding is excluded from the experts' routing: their biases and the auxiliary loss. Megatron-Core accepts
    no mask for it before 0.19."""

    MTP_SUMS: tuple[str, ...]
    """Running sums that Megatron-Core keeps for multi-token prediction: mean losses, and if it measures them, accepted
    and possible targets (see `mtp.py`)."""

    def super_recipe(self, hf_model: str, peft_scheme: str | None) -> "ConfigContainer":
        """Make Megatron-Bridge's Nemotron 3 Super recipe for `hf_model`.

        Args:
            hf_model: Hugging Face id, or a folder with a config.json of architecture NemotronHForCausalLM.
            peft_scheme: "lora" or "dora"; None for full fine-tuning.

        Raises:
            OSError, ValueError: no config can be read for `hf_model`.
        """
        ...

    def dataset_config(self) -> type:
        """Return the class whose fields are the settings of `dataset`."""
        ...

    def make_packed_dataset(self, packs: Packs, global_batch_size: int) -> Any:
        """Make the dataset config that reads packed Parquet folders.

        Args:
            packs: What it reads.
            global_batch_size: Packs of a training step.
        """
        ...

    def set_environment(self, container: "ConfigContainer", variables: Mapping[str, Any]) -> None:
        """Set environment variables for the run's processes, before it uses a device."""
        ...

    def callbacks(self) -> list[Any]:
        """Make callbacks for what the line's training loop lacks, such as signals."""
        ...

    def fit_layout(self, model: Any) -> None:
        """Correct what Megatron-Core scales wrongly with some parallel sizes.

        Layouts that cannot be corrected are refused.

        Args:
            model: The model provider, changed in place.

        Raises:
            UserError: The installed release cannot train in this layout.
        """
        ...

    def fit_adapters(self, model: Any, routed_experts: bool) -> None:
        """Correct what Megatron-Bridge does wrongly with adapters in some layouts.

        Layouts that cannot be corrected are refused.

        Args:
            model: The model provider.
            routed_experts: Whether there are adapters on these.

        Raises:
            UserError: The installed release cannot train these adapters in this layout.
        """
        ...

    def evaluation(
        self, packs: int, ranks: int, global_batch_size: int, largest: int | None, asked: int | None
    ) -> tuple[int, int]:
        """Return the packs per batch and the number of batches for evaluating a split.

        Args:
            packs: In the split.
            ranks: data-parallel ranks.
            global_batch_size: Packs of a training step.
            largest: `validation.eval_global_batch_size`, where given.
            asked: `validation.eval_iters`, where given; at most so many batches.

        Returns:
            Batches no larger than `largest` or the global batch; (0, 0) if the split cannot be evaluated.

        Raises:
            UserError: `largest` is given, and the line knows no such setting.
        """
        ...

    def set_evaluation(self, container: "ConfigContainer", batch: int, iterations: int) -> None:
        """Set `container` to evaluate a split in `iterations` batches of `batch` packs."""
        ...

    def count_evaluated_packs(self, container: "ConfigContainer", packs: int) -> int:
        """Count the packs that one evaluation reads, as `set_evaluation` set it."""
        ...

    def split_iterator(self, container: "ConfigContainer", tokenizer: Any, folder: Path, ranks: Any) -> Any:
        """Iterate over one data-parallel rank's batches of a folder of packs.

        Args:
            ranks: The data-parallel process group.
        """
        ...

    def pack_boundaries(self, batch: Mapping[str, Any]) -> "Tensor":
        """Return where the sequences of a micro-batch (one pack) begin and end.

        Args:
            batch: The collator's.

        Returns:
            int32 [n + 1], as they are in memory. The padding of a sequence counts as part of it.
        """
        ...

    def model_chunk(self, model: Any) -> int:
        """Return which of this rank's model chunks (virtual pipeline stages) `model` is."""
        ...

    def read_micro_batch(self, state: Any, micro_batches: Iterator[Any] | None, model: Any, groups: Any) -> MicroBatch:
        """Read the next micro-batch for this rank's part of the model, to its device.

        The inputs have the pack's boundaries on every pipeline stage, as they are in memory (`pack_boundaries`), and
        the sequence index that separates the states of Mamba layers.

        Args:
            state: Megatron-Bridge's GlobalState.
            micro_batches: None on pipeline stages without data.
            model: The model chunk.
            groups: Its process groups.
        """
        ...

    def hybrid_stack(self) -> HybridStack:
        """Return the stack that the model is built from."""
        ...

    def mlp_submodule(self, submodules: Any) -> Any:
        """Make a dense MLP in a layer spec."""
        ...

    def conversion_mappings(self, converter: Any) -> list[Any]:
        """List mappings for torch_layers/spec.py that Megatron-Bridge's table lacks.

        Megatron-Bridge derives the names of their separate norms from the fused ones, except in MTP layers, where it
        lists names.

        Args:
            converter: The NemotronHBridge that is about to make the table. Called before it does.
        """
        ...

    def check_loadable(self, checkpoint: Path) -> None:
        """Refuse a checkpoint that only a later line can load.

        Args:
            checkpoint: An `iter_*` folder, or a Hugging Face folder.

        Raises:
            UserError: The installed line cannot load it.
        """
        ...

    def complete_provider(self, provider: Any, hf_config: Any) -> None:
        """Set what Megatron-Bridge does not read from a Hugging Face config.

        This is that MTP depths share one layer.
        """
        ...

    def load_adapters(self, model: list[Any], iteration_dir: Path, peft: Any) -> None:
        """Load the adapters of a checkpoint into a model with adapters.

        The model is a list of one chunk.

        Args:
            peft: The PEFT object that gave them.
        """
        ...

    def save_hf_weights(self, auto_bridge: Any, model: list[Any], folder: Path) -> None:
        """Write the weights of a model (a list of chunks) as safetensors.

        Several files get an index.

        Args:
            auto_bridge: An AutoBridge made from a config, without weights.
        """
        ...
