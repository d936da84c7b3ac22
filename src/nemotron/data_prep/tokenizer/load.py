"""Load a tokenizer from a folder or from the Hugging Face hub."""

import hashlib
from pathlib import Path

from nemotron.data_prep.config import TokenizerConfig
from nemotron.data_prep.tokenizer.facts import find_facts
from nemotron.data_prep.tokenizer.files import SPECIAL_TOKENS, ChatTemplates, read_definition, read_settings
from nemotron.data_prep.tokenizer.tokenizer import Tokenizer
from nemotron.doctor import is_hub_offline, is_hub_reachable
from nemotron.errors import UserError
from nemotron.files.paths import is_path
from nemotron.user_cache import recall, remember, version_of

_HINT = (
    "Check the name and your network, or set tokenizer.model to a folder with tokenizer.json. "
    "To try things out, -c tiny has a small one."
)


def load_tokenizer(config: TokenizerConfig) -> Tokenizer:
    """Load a tokenizer from a folder, or by its Hugging Face id.

    Facts about it are remembered, because the library takes half a second to load a large vocabulary.

    Raises:
        UserError: There is no tokenizer, or it has no token that could end a turn.
    """
    path = Path(config.model)
    if (path / "tokenizer.json").is_file() and not config.trust_remote_code:
        definition = read_definition(path)
        special_tokens, chat_template = read_settings(path)
    elif is_path(config.model) and not (path.is_dir() and config.trust_remote_code):
        problem = "has no tokenizer.json" if path.exists() else "does not exist"
        raise UserError(
            f"The tokenizer folder {path} {problem}.",
            "Set tokenizer.model to a folder with tokenizer.json, or to a Hugging Face id.",
        )
    else:
        definition, special_tokens, chat_template = _from_hub(config)
    return _describe(config.model, definition, special_tokens, chat_template)


def _describe(name: str, definition: bytes, special_tokens: dict[str, str], chat_template: ChatTemplates) -> Tokenizer:
    settings = " ".join(f"{key}={token}" for key, token in sorted(special_tokens.items()))
    digest = hashlib.sha256(definition).hexdigest()
    key = f"4 {version_of('tokenizers')} {digest} {settings}"
    facts = recall("tokenizers", key)
    if facts is None:
        facts = find_facts(name, definition, special_tokens)
        remember("tokenizers", key, facts)
    tokenizer = Tokenizer(
        name, definition, special_tokens_map=special_tokens, chat_template=chat_template,
        **{**facts, "special": tuple(facts["special"])},
    )  # fmt: skip
    tokenizer.__dict__["definition_digest"] = digest
    return tokenizer


def _is_cached(config: TokenizerConfig) -> bool:
    """Look for a tokenizer in the hub's cache.

    An impossible name is left to the library to explain.
    """
    from huggingface_hub import try_to_load_from_cache

    try:
        return isinstance(try_to_load_from_cache(config.model, "tokenizer_config.json", revision=config.revision), str)
    except ValueError:
        return True


def _from_hub(config: TokenizerConfig) -> tuple[bytes, dict[str, str], ChatTemplates]:
    cache_only = not Path(config.model).is_dir() and not is_hub_offline() and not is_hub_reachable()
    if cache_only and not _is_cached(config):
        raise UserError(
            f"Cannot load the tokenizer {config.model}: the hub does not answer, and the cache has no copy.",
            _HINT,
        )
    from transformers import AutoTokenizer

    try:
        loaded = AutoTokenizer.from_pretrained(
            config.model,
            revision=config.revision,
            trust_remote_code=config.trust_remote_code,
            local_files_only=cache_only,
        )
        definition = loaded.backend_tokenizer.to_str().encode()
    except AttributeError:
        raise UserError(
            f"The tokenizer {config.model} has no fast form.", "Convert it to a tokenizer.json first."
        ) from None
    except Exception as error:  # transformers may raise anything for arbitrary files
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"Cannot load the tokenizer {config.model}: {reason}", _HINT) from None
    template = loaded.chat_template
    special_tokens = {key: str(token) for key, token in loaded.special_tokens_map.items() if key in SPECIAL_TOKENS}
    return definition, special_tokens, template if isinstance(template, str | dict) else None
