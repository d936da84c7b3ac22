"""Find the token with which a chat template ends an assistant's turn.

A model must learn this token, or it never stops. It is found with a conversation of our own before anything is written.
That the turns of each row end with such a token, also those that call tools, is checked row by row (chat/chunks.py).
"""

from dataclasses import replace

from nemotron.data_prep.chat.template import Template
from nemotron.data_prep.chat.template_probes import find_frame
from nemotron.data_prep.drop_reasons import RowError
from nemotron.data_prep.tokenizer.tokenizer import CONTROL_TOKENS, Tokenizer
from nemotron.errors import UserError


def with_turn_end(tokenizer: Tokenizer, template: Template) -> Tokenizer:
    """Find the token that ends an assistant's turn.

    Returns:
        The tokenizer with that token as `end_id`, up to which a turn trains.

    Raises:
        UserError: The template does not end turns with a stop token, or was written for other control tokens.
    """
    if template.is_nemotron3:
        _ensure_control_tokens(tokenizer, template.name)
        return tokenizer
    # Conversations without tools come last, because they show how most turns end.
    for chosen in dict.fromkeys((template.for_tools([{}]), template)):
        try:
            frame = find_frame(chosen)
        except RowError as error:
            raise UserError(f"The chat template {error.detail}.", "Use another template.") from error
        if frame is None:
            continue  # it refuses our conversations, perhaps all; each row will say why
        end_id = _single_id(tokenizer, frame.stop)
        if end_id is None:
            ending = f"with {frame.after.strip()[:40]!r}, no control token" if frame.after.strip() else "without one"
            raise UserError(
                f"The chat template {template.name} should end an assistant's turn with a control token of the "
                f"tokenizer {tokenizer.name}, but ends it {ending}: the model would never learn to stop.",
                "Let the template write {{ eos_token }}, or another special token of the tokenizer, after an answer.",
            )
        tokenizer = replace(tokenizer, end_id=end_id)
    return tokenizer


def _ensure_control_tokens(tokenizer: Tokenizer, template: str) -> None:
    """Refuse a tokenizer without the control tokens of the bundled format."""
    special = {*tokenizer.special, tokenizer.special_tokens_map.get("eos_token")}
    missing = [token for token in CONTROL_TOKENS if token not in special or _single_id(tokenizer, token) is None]
    if missing:
        raise UserError(
            f"The chat template {template} is written with {' and '.join(missing)}, which the tokenizer "
            f"{tokenizer.name} does not know as a control token: no answer would end.",
            "Set tokenizer.model to a tokenizer of Nemotron 3, or chat_template to `tokenizer` or to a template for "
            "this one.",
        )


def _single_id(tokenizer: Tokenizer, token: str) -> int | None:
    """Return the id of a token, None if it is not a single token."""
    if token in tokenizer.single_ids:
        return tokenizer.single_ids[token]
    (ids,) = tokenizer.encode_chunks([token])
    return ids[0] if len(ids) == 1 else None
