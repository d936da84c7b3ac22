"""Detect the language of a conversation.

It follows from the row's tag, else from the script of the text, else from its most common words. The purpose is a share
over a dataset, not certainty about one row: the words distinguish the languages of most training data, and anything
else in Latin letters counts as `Latin`.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from nemotron.data_prep.chat.conversation import Message

TAGS = ("language", "lang", "locale")
"""Fields of a row that name its language."""
LOOKED_AT = 2_000
"""Characters of a conversation that are examined: enough for a majority."""
WORDS = {
    "de": "der die und das nicht ist mit den ein eine für auf wird sich",
    "en": "the and that with this for you are from have was not which",
    "es": "el los las una por con para del como pero más está",
    "fr": "les des une est dans pour que qui vous avec sur pas plus",
    "it": "il che di per una con non sono della gli anche più",
    "pt": "não uma para com os mais como dos mas você são ao",
    "nl": "het een van niet zijn dat voor met ook wordt naar maar",
}
"""Words that are common in one language and rare in the others."""
LANGUAGE_OF_WORD = {word: language for language, words in WORDS.items() for word in words.split()}
LANGUAGE_OF_SCRIPT = {"HIRAGANA": "ja", "KATAKANA": "ja", "HANGUL": "ko", "CJK": "zh"}


def detect_language(row: Any, messages: Sequence[Message]) -> str:
    """Return the language of a conversation, such as `de` or `ja`.

    It is `Latin` or `Cyrillic` if only the script is known, and `none` without letters.

    Args:
        row: The row as read. A tag in it takes precedence, reduced to its language: `de-AT` and `DE` are `de`.
        messages: Its normalised messages; those of the system and of tools are ignored.
    """
    return _read_tag(row) or _detect_by_script(_take_text(messages))


def _read_tag(row: Any) -> str | None:
    if not isinstance(row, dict):
        return None
    for name in TAGS:
        tag = row.get(name)
        if isinstance(tag, str) and (found := re.match(r"\s*([^\W\d_]{2,24})", tag)):
            return found[1].lower()
    return None


def _take_text(messages: Sequence[Message]) -> str:
    """Return the beginning of the text of user and assistant; both count."""
    said = (message["content"] for message in messages if message["role"] in ("user", "assistant"))
    return "\n".join(text[:LOOKED_AT] for text in said if isinstance(text, str))[:LOOKED_AT]


def _detect_by_script(text: str) -> str:
    scripts = Counter(script for character in text if character.isalpha() if (script := _read_script(character)))
    if not scripts:
        return "none"
    kana = scripts["HIRAGANA"] + scripts["KATAKANA"]
    if kana * 10 > scripts["CJK"] and kana + scripts["CJK"] > scripts.total() / 2:
        return "ja"  # Japanese mixes kana with characters that it shares with Chinese
    [(script, _)] = scripts.most_common(1)
    if script == "LATIN":
        return _detect_by_words(text) or "Latin"
    return LANGUAGE_OF_SCRIPT.get(script, script.capitalize())


def _detect_by_words(text: str) -> str | None:
    found = Counter(LANGUAGE_OF_WORD.get(word) for word in re.findall(r"[^\W\d_]+", text.lower()))
    del found[None]
    first = found.most_common(2)
    is_clear = first and (len(first) == 1 or first[0][1] > first[1][1])
    return first[0][0] if is_clear else None


@lru_cache(4096)
def _read_script(character: str) -> str:
    """Return the script of a letter, the first word of its Unicode name."""
    return unicodedata.name(character, "").split(" ", 1)[0].split("-", 1)[0]
