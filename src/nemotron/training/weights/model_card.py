"""Write the model card of an export: its origin, its config and its losses."""

import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from nemotron.files.regular_files import read_text
from nemotron.training.checkpoints.checkpoint import Checkpoint
from nemotron.training.checkpoints.run_record import find_saving_run, read_records

_LOSSES = (("training", "metrics.jsonl"), ("validation", "validation.jsonl"), ("test", "test.jsonl"))

_ADAPTER = """```python
from peft import PeftModel
from transformers import AutoModelForCausalLM

model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained("{base}"), "THIS FOLDER")
```

This needs transformers 5. If Mamba's `out_proj` was adapted, the folder has its merged weight instead, because peft
applies no adapters to it. Adapters of multi-token prediction are omitted, because transformers does not implement it; a
merged export has them."""


def model_card(checkpoint: Checkpoint, base_model: str, *, adapter: bool = False) -> str:
    """Return the README.md of a checkpoint's model, with the hub's front matter.

    Args:
        checkpoint: Facts that its run did not record are omitted.
        base_model: Hugging Face id or folder of the model before fine-tuning.
        adapter: Whether the folder has only adapters for that model.
    """
    (run, record), iteration = find_saving_run(checkpoint.folder), _iteration(checkpoint)
    library = "peft" if adapter else "transformers"
    head = ["---", f"library_name: {library}", f"tags: [nemotron, sft{', lora' if adapter else ''}]"]
    if not Path(base_model).exists():
        head.append(f"base_model: {base_model}")
    facts = [
        ("Base model", base_model),
        ("Training data", record.get("data_from")),
        ("Adapters" if adapter else "Adapters, merged", record.get("adapters")),
        ("Iteration", iteration),
        ("Code", f"nemotron {_version('nemotron')}, megatron-bridge {_version('megatron-bridge')}"),
    ]
    parts = ["\n".join([*head, "---"]), "# Fine-tuned with nemotron", _table(("", ""), facts)]
    if adapter:
        parts.append(_ADAPTER.format(base=base_model))
    if run is not None:
        losses = [row for row in (_losses(run / file, name, iteration) for name, file in _LOSSES) if row]
        if losses:
            parts += ["## Losses", _table(("", "per token", "per sample"), losses)]
        if (run / "config.yaml").is_file():
            parts += ["## Config", f"```yaml\n{read_text(run / 'config.yaml', errors='replace').rstrip()}\n```"]
    return "\n\n".join(parts) + "\n"


def read_iteration(card: Path) -> int | None:
    """Read the iteration from a model card; None if the card does not have it."""
    found = re.search(r"^\| Iteration \| (\d+) \|$", read_text(card, errors="replace"), re.MULTILINE)
    return int(found[1]) if found else None


def _iteration(checkpoint: Checkpoint) -> int | None:
    """Return the iteration in the folder's name, else in the run config."""
    digits = checkpoint.folder.name.removeprefix("iter_")
    return int(digits) if digits.isdecimal() else (checkpoint.saved.get("train") or {}).get("train_iters")


def _losses(file: Path, name: str, iteration: int | None) -> tuple[str, Any, Any] | None:
    """Return the losses in a run's last record up to the checkpoint's iteration."""
    seen = [record for record in read_records(file) if iteration is None or record["iteration"] <= iteration]
    if not seen or seen[-1].get("token_loss") is None:
        return None
    return (
        f"{name}, iteration {seen[-1]['iteration']}",
        f"{seen[-1]['token_loss']:.4f}",
        f"{seen[-1]['sample_loss']:.4f}",
    )


def _table(header: tuple[str, ...], rows: list[Any]) -> str:
    lines = [header, ("---",) * len(header), *(row for row in rows if row[1] is not None)]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
