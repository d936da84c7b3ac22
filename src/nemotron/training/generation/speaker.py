"""Load a model into memory with transformers."""

import json
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from nemotron.doctor import is_there
from nemotron.errors import UserError
from nemotron.files.paths import is_path
from nemotron.files.regular_files import read_text
from nemotron.training.checkpoints.hf_folder import ADAPTER_CONFIG
from nemotron.training.generation.memory import free_memory
from nemotron.training.generation.sampling import Sampling, check_sampling, read_sampling

BESIDE_WEIGHTS = 1.1
"""Memory of a model per byte of its weights: a tenth more, for the state of a conversation."""


def refuse_without_transformers(*, adapters: bool = False) -> None:
    """Refuse to generate if packages are not installed.

    Raises:
        UserError: Packages are missing; the message lists them.
    """
    missing = [name for name in ("torch", "transformers", *(["peft"] if adapters else [])) if not is_there(name)]
    if missing:
        raise UserError(
            f"Talking to a model needs {', '.join(missing)}, which is not installed.",
            f"In the repository, run uv sync. Elsewhere: pip install {' '.join(missing)}",
        )


class TransformersSpeaker:
    """A model of a Hugging Face folder, on one GPU, on several, or on the CPU."""

    def __init__(self, folder: Path, *, temperature: float | None = None, seed: int = 0) -> None:
        """Load the model.

        Args:
            folder: The folder that `find_export` returned. For adapters, their base model is loaded too.
            temperature: 0 always takes the most likely token; None uses generation_config.json.
            seed: The seed of sampling.

        Raises:
            UserError: A package is missing, the weights do not fit into memory, or they cannot be loaded.
        """
        adapters = (folder / ADAPTER_CONFIG).is_file()
        refuse_without_transformers(adapters=adapters)
        base = _base_of(folder) if adapters else str(folder)
        placed = _place(base)
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig
        from transformers.utils import logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        try:
            model: Any = AutoModelForCausalLM.from_pretrained(base, dtype="auto", trust_remote_code=False, **placed)
            if adapters:
                from peft import PeftModel

                model = PeftModel.from_pretrained(model, str(folder))
            self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        except Exception as error:  # damaged weights and tokenizers raise various types
            raise UserError(
                f"transformers cannot load {folder}: {_describe(error)}",
                "Export the run again; its checkpoint is intact.",
            ) from None
        self._model, named = model.eval(), _sampling_of(base, model)
        model.generation_config = GenerationConfig(**named.as_options())
        self._torch, self._seed = torch, seed
        self._sampling = _options_at(temperature)
        self.stops = frozenset(token for token in (*named.ends, self._tokenizer.eos_token_id) if token is not None)

    def render(self, messages: Sequence[dict[str, str]], **options: Any) -> str:
        """Return the text of the messages, up to where the reply begins.

        Raises:
            UserError: There is no chat template, or it refuses the messages.
        """
        from jinja2 import TemplateError

        if not self._tokenizer.chat_template:
            raise UserError("The tokenizer of this model has no chat template.", "Export the run again.")
        try:
            return self._tokenizer.apply_chat_template(
                list(messages), tokenize=False, add_generation_prompt=True, **options
            )
        except TemplateError as error:
            raise UserError(
                f"The chat template of this model refuses these messages: {_describe(error)}", "Say it in another form."
            ) from None

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text, without adding special tokens."""
        return self._tokenizer(text, add_special_tokens=False).input_ids

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of tokens, with special tokens."""
        return self._tokenizer.decode(list(ids), clean_up_tokenization_spaces=False)

    def token(self, text: str) -> int | None:
        """Return the token of a text that is exactly one token, else None."""
        ids = self.encode(text)
        return ids[0] if len(ids) == 1 else None

    def generate(
        self, ids: Sequence[int], most: int, stops: Collection[int], on_token: Callable[[int], None]
    ) -> list[int]:
        """Return at most `most` further tokens; the last one may be one of `stops`.

        Raises:
            UserError: The probabilities of the model are not finite.
        """
        if most < 1:
            return []
        torch = self._torch
        torch.manual_seed(self._seed)
        prompt = torch.tensor([list(ids)], device=self._model.device)
        try:
            said = self._model.generate(
                input_ids=prompt,
                attention_mask=torch.ones_like(prompt),
                max_new_tokens=most,
                eos_token_id=sorted(stops),
                pad_token_id=min(stops, default=0),
                streamer=_Streamer(on_token),
                **self._sampling,
            )
        except RuntimeError as error:
            if "probability tensor" not in str(error):
                raise
            raise UserError(
                "The probabilities of the model are NaN or infinite: training diverged, or the weights are damaged.",
                "Look at the losses in report.html, or name an earlier checkpoint.",
            ) from None
        return said[0, prompt.shape[1] :].tolist()


def _options_at(temperature: float | None) -> dict[str, Any]:
    """Return what a temperature changes of generation_config.json."""
    if temperature is None:
        return {}
    if temperature == 0:
        return {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    return {"do_sample": True, "temperature": temperature}


class _Streamer:
    """Passes on the tokens that transformers generates."""

    def __init__(self, on_token: Callable[[int], None]) -> None:
        self._on_token, self._is_prompt = on_token, True

    def put(self, value: Any) -> None:
        if not self._is_prompt:
            for token in value.flatten().tolist():
                self._on_token(token)
        self._is_prompt = False

    def end(self) -> None: ...


def _describe(error: Exception) -> str:
    """Return the first line of an error's message, or its type."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _base_of(folder: Path) -> str:
    config = folder / ADAPTER_CONFIG
    try:
        base = json.loads(read_text(config))["base_model_name_or_path"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            f"{config} is damaged: {_describe(error)}", "Export the adapters again; their run is intact."
        ) from None
    if base is None or (is_path(str(base)) and not any(Path(base).glob("*.safetensors"))):
        raise UserError(
            f"{folder} holds adapters, and the weights of their model are not at {base}.",
            "Name the run itself: its adapters are merged into the model it started from.",
        )
    return str(base)


def _sampling_of(model: str, loaded: Any) -> Sampling:
    if Path(model).is_dir():
        return read_sampling(Path(model), loaded.config.vocab_size)
    return check_sampling(loaded.generation_config.to_dict(), loaded.config.vocab_size)  # an id of the hub


def _place(model: str) -> dict[str, Any]:
    """Choose the device of a model, as options of from_pretrained.

    Raises:
        UserError: The model fits neither on the GPUs nor into memory.
    """
    import torch

    weights = sum(file.stat().st_size for file in Path(model).glob("*.safetensors"))  # an id of the hub: 0
    needed = int(weights * BESIDE_WEIGHTS)
    gpus = [torch.cuda.mem_get_info(i)[0] for i in range(torch.cuda.device_count())]
    if gpus and needed <= gpus[0]:
        return {"device_map": {"": 0}}
    if gpus and needed <= sum(gpus):
        return {"device_map": "auto"}
    free = free_memory()
    if needed <= free:
        return {}
    raise UserError(
        f"{model} needs {needed:,} bytes ({needed / 2**30:,.1f} GiB) of memory: its weights are {weights:,}. Free are "
        f"{free / 2**30:,.1f} GiB here{f' and {sum(gpus) / 2**30:,.1f} GiB on GPUs' if gpus else ''}.",
        f"Run this where there is as much, or serve it: vllm serve {model} --tensor-parallel-size GPUS",
    )
