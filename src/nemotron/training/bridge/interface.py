"""The interface that each release line of Megatron-Bridge implements here."""

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
    conversation_targets: bool = False
    """Whether batches get that column (objective/conversation_targets.py); so do those of the valid split and of
    `Line.split_iterator`."""


@dataclass(frozen=True)
class MicroBatch:
    """One pack, ready for the model."""

    inputs: dict[str, Any]
    """Arguments of the model's forward pass, but for the loss mask."""
    weights: "Tensor | None"
    """What stood in place of the loss mask, float32 [1, tokens]; None but on the last pipeline stage."""


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
    """Modules that define the production spec of it, and the model around it."""


class Line(Protocol):
    """A line of releases with one API.

    Functions import Megatron when they are called, and raise UserError where it lacks what they need.
    """

    NAME: str
    """Its number, for messages."""

    IMPORTS_CUDA_PACKAGES: tuple[str, ...]
    """Modules that import packages which exist only for CUDA, whether these will be used or not."""

    FROM_DATA: frozenset[str]
    """Of the dataset's settings, what says where the packs are and that they are packs."""

    MASKS_PADDING: bool
    """Whether padding is kept out of the experts' routing: their biases and the auxiliary loss. Megatron-Core takes no
    mask of it before 0.19."""

    MTP_SUMS: tuple[str, ...]
    """The running sums that Megatron-Core keeps of multi-token prediction: of mean losses, and, where it measures
    them, of accepted and of possible targets (see `mtp.py`)."""

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
            packs: what it reads.
            global_batch_size: packs of a training step.
        """
        ...

    def set_environment(self, container: "ConfigContainer", variables: Mapping[str, Any]) -> None:
        """Have the run's processes see environment variables, before it touches a device."""
        ...

    def callbacks(self) -> list[Any]:
        """Make the callbacks that do what the line leaves out of the training loop.

        Such as stopping on a signal.
        """
        ...

    def fit_layout(self, model: Any) -> None:
        """Correct what Megatron-Core scales wrongly with some parallel sizes.

        Refuse the rest.

        Args:
            model: the model provider, changed in place.

        Raises:
            UserError: the installed release cannot train in this layout.
        """
        ...

    def fit_adapters(self, model: Any, routed_experts: bool) -> None:
        """Correct what Megatron-Bridge does wrongly with adapters in some layouts.

        Refuse the rest.

        Args:
            model: the model provider.
            routed_experts: whether there are adapters on these.

        Raises:
            UserError: the installed release cannot train these adapters in this layout.
        """
        ...

    def evaluation(
        self, packs: int, ranks: int, global_batch_size: int, largest: int | None, asked: int | None
    ) -> tuple[int, int]:
        """Packs per batch and number of batches in which a split is evaluated.

        Args:
            packs: in the split.
            ranks: data-parallel ranks.
            global_batch_size: packs of a training step.
            largest: `validation.eval_global_batch_size`, where given.
            asked: `validation.eval_iters`, where given; at most so many batches.

        Returns:
            No batch larger than `largest` or the global batch; (0, 0) when the split cannot be evaluated.

        Raises:
            UserError: `largest` is given, and the line knows no such setting.
        """
        ...

    def set_evaluation(self, container: "ConfigContainer", batch: int, iterations: int) -> None:
        """Have `container` evaluate a split in `iterations` batches of `batch`."""
        ...

    def count_evaluated_packs(self, container: "ConfigContainer", packs: int) -> int:
        """Count the packs that one evaluation of a split reads.

        As `set_evaluation` set it.
        """
        ...

    def split_iterator(self, container: "ConfigContainer", tokenizer: Any, folder: Path, ranks: Any) -> Any:
        """Iterate over one data-parallel rank's batches of a folder of packs.

        Args:
            ranks: the data-parallel process group.
        """
        ...

    def pack_boundaries(self, batch: Mapping[str, Any]) -> "Tensor":
        """Return where the conversations of a micro-batch (one pack) begin and end.

        Args:
            batch: the collator's.

        Returns:
            int32 [n + 1], as they lie in memory. Padding of a conversation counts as part of it.
        """
        ...

    def model_chunk(self, model: Any) -> int:
        """Tell which of this rank's model chunks (virtual pipeline stages) `model` is."""
        ...

    def read_micro_batch(self, state: Any, micro_batches: Iterator[Any] | None, model: Any, groups: Any) -> MicroBatch:
        """Read the next micro-batch as this rank's part of the model wants it.

        It is on the rank's device.

        The inputs carry the pack's boundaries on every pipeline stage, as they lie in memory (`pack_boundaries`), and
        the sequence index that keeps the states of Mamba layers apart.

        Args:
            state: Megatron-Bridge's GlobalState.
            micro_batches: None on pipeline stages without data.
            model: the model chunk.
            groups: its process groups.
        """
        ...

    def hybrid_stack(self) -> HybridStack:
        """Return the stack that the model is built of."""
        ...

    def mlp_submodule(self, submodules: Any) -> Any:
        """Make a dense MLP in a layer spec."""
        ...

    def conversion_mappings(self, converter: Any) -> list[Any]:
        """List what Megatron-Bridge's table of Hugging Face names lacks.

        The torch layers of torch_layers/spec.py need it.

        Megatron-Bridge finds their separate norms under names it derives from the fused ones, except in MTP layers,
        where it lists the names itself.

        Args:
            converter: the NemotronHBridge that is about to make the table. Called before it does.
        """
        ...

    def check_loadable(self, checkpoint: Path) -> None:
        """Refuse a checkpoint that only a later line can load.

        Args:
            checkpoint: the folder of one, an `iter_*` folder, or a Hugging Face folder.

        Raises:
            UserError: the installed line cannot load it.
        """
        ...

    def complete_provider(self, provider: Any, hf_config: Any) -> None:
        """Set what Megatron-Bridge does not take over from a Hugging Face config.

        That MTP depths share one layer.
        """
        ...

    def load_adapters(self, model: list[Any], iteration_dir: Path, peft: Any) -> None:
        """Load the adapters of a checkpoint into a model that has been given adapters.

        The model is a list of chunks (one).

        Args:
            peft: the PEFT object that gave them.
        """
        ...

    def save_hf_weights(self, auto_bridge: Any, model: list[Any], folder: Path) -> None:
        """Write the weights of a model (its list of chunks) as safetensors.

        With an index where there are several files.

        Args:
            auto_bridge: an AutoBridge made from a config, without weights.
        """
        ...
