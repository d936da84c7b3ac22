"""Write a Hugging Face folder's configs, tokenizer and code.

Files are copied byte for byte, since `save_pretrained` of transformers would change them: it writes a tokenizer class
that transformers 4 and inference servers do not have.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from nemotron.data_prep.chat.template import load_template
from nemotron.data_prep.config import TokenizerConfig
from nemotron.data_prep.tokenizer.load import load_tokenizer
from nemotron.data_prep.tokenizer.turn_end import with_turn_end
from nemotron.errors import UserError
from nemotron.files.regular_files import read_text
from nemotron.training.checkpoints.hf_folder import NAMED_TEMPLATES

GENERATION_CONFIG = "generation_config.json"
TOKENIZER_FILES = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("tokenizer.model", "vocab.json", "merges.txt", "chat_template.jinja", "chat_template.json"),
)
MODEL_FILES = ("config.json", GENERATION_CONFIG)


def local_folder(name: str, patterns: Sequence[str]) -> Path:
    """Return the folder of a Hugging Face model or tokenizer.

    Args:
        name: A folder, or an id of the hub.
        patterns: The files to download for an id, as `fnmatch` patterns.
    """
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(name, allow_patterns=list(patterns)))


def write_model_files(folder: Path, hf_config: str, end_ids: Sequence[int]) -> None:
    """Write config.json, generation_config.json and the model's code into an export.

    Args:
        folder: The folder of the export.
        hf_config: Folder or id of the model before fine-tuning.
        end_ids: Tokens that end an assistant's turn in the training data. Generation must stop at each.
    """
    source = local_folder(hf_config, (*MODEL_FILES, "*.py"))
    shutil.copyfile(source / "config.json", folder / "config.json")
    for code in source.glob("*.py"):  # auto_map in config.json names it, for releases without the architecture
        shutil.copyfile(code, folder / code.name)
    config = json.loads(read_text(source / "config.json"))
    given = source / GENERATION_CONFIG
    generation = json.loads(read_text(given)) if given.is_file() else None
    written = json.dumps(generation_config(config, generation, end_ids), indent=2, ensure_ascii=False)
    (folder / GENERATION_CONFIG).write_text(written + "\n", encoding="utf-8")


def generation_config(
    config: Mapping[str, Any], generation: Mapping[str, Any] | None, end_ids: Sequence[int]
) -> dict[str, Any]:
    """Return the generation_config.json of an export.

    It is the source's, extended so that generation stops at the end of a turn.

    Args:
        config: The model's config.json.
        generation: The source's generation_config.json, or None if it has none.
        end_ids: Tokens that end a turn, appended to `eos_token_id` unless it has them.
    """
    if generation is None:
        generation = {key: config[key] for key in ("bos_token_id", "pad_token_id") if config.get(key) is not None}
        generation["eos_token_id"] = config.get("eos_token_id")
    eos = generation.get("eos_token_id")
    eos = config.get("eos_token_id") if eos is None else eos
    known = list(eos) if isinstance(eos, list) else [eos] if eos is not None else []
    known += [token for token in dict.fromkeys(end_ids) if token not in known]
    return {**generation, "eos_token_id": known[0] if len(known) == 1 else known}


def write_tokenizer(folder: Path, tokenizer: str) -> list[int]:
    """Copy a tokenizer's files to an export; add the bundled chat template if needed.

    Args:
        folder: The folder of the export.
        tokenizer: Folder or id of the tokenizer.

    Returns:
        The ids that end a turn in data prep: the token with which the chat template ends an answer, and `<|im_end|>`,
        or eos if the tokenizer does not have it.
    """
    source = local_folder(tokenizer, (*TOKENIZER_FILES, f"{NAMED_TEMPLATES}/*"))
    for name in TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
    if (source / NAMED_TEMPLATES).is_dir():
        shutil.copytree(source / NAMED_TEMPLATES, folder / NAMED_TEMPLATES, dirs_exist_ok=True)
    if not _has_chat_template(folder):
        bundled = (files("nemotron.data_prep.chat") / "templates" / "nemotron3.jinja").read_text(encoding="utf-8")
        (folder / "chat_template.jinja").write_text(bundled, encoding="utf-8")
    loaded = load_tokenizer(TokenizerConfig(model=str(source)))
    try:
        ends = with_turn_end(loaded, load_template("tokenizer", loaded))
    except UserError:  # it has none that can be used for training, so data prep used another one
        return [loaded.end_id]
    return list(dict.fromkeys([ends.end_id, loaded.end_id]))


def _has_chat_template(folder: Path) -> bool:
    next_to = ("chat_template.jinja", "chat_template.json", NAMED_TEMPLATES)
    settings = folder / "tokenizer_config.json"
    inside = settings.is_file() and json.loads(read_text(settings)).get("chat_template")
    return bool(inside) or any((folder / name).exists() for name in next_to)
