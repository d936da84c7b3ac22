"""The language of a conversation.

Its row's tag, else the script of its text, else its commonest words.

A share over a dataset is the purpose, not a verdict on one row: the words tell apart the languages that most training
data is written in, and whatever else is in Latin letters is counted as such.
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
"""Characters of a conversation that are looked at: enough for a majority."""
WORDS = {
    "de": "der die und das nicht ist mit den ein eine für auf wird sich",
    "en": "the and that with this for you are from have was not which",
    "es": "el los las una por con para del como pero más está",
    "fr": "les des une est dans pour que qui vous avec sur pas plus",
    "it": "il che di per una con non sono della gli anche più",
    "pt": "não uma para com os mais como dos mas você são ao",
    "nl": "het een van niet zijn dat voor met ook wordt naar maar",
}
"""Words that are common in one of the languages and rare in the others."""
LANGUAGE_OF_WORD = {word: language for language, words in WORDS.items() for word in words.split()}
LANGUAGE_OF_SCRIPT = {"HIRAGANA": "ja", "KATAKANA": "ja", "HANGUL": "ko", "CJK": "zh"}


def language_of(row: Any, messages: Sequence[Message]) -> str:
    """Name the language of a conversation: `de`, `ja`.

    `Latin`, `Cyrillic` where only the script is known; `none`.

    Args:
        row: The row as read. A tag in it is believed, cut to its language: `de-AT` and `DE` are `de`.
        messages: Its normalised messages; those of the system and of tools are not looked at.
    """
    return _tag(row) or _language_of_text(_text(messages))


def _tag(row: Any) -> str | None:
    if not isinstance(row, dict):
        return None
    for name in TAGS:
        tag = row.get(name)
        if isinstance(tag, str) and (found := re.match(r"\s*([^\W\d_]{2,24})", tag)):
            return found[1].lower()
    return None


def _text(messages: Sequence[Message]) -> str:
    """Return the beginning of what user and assistant say.

    The answers' language counts, and so does the question's.
    """
    said = (message["content"] for message in messages if message["role"] in ("user", "assistant"))
    return "\n".join(text[:LOOKED_AT] for text in said if isinstance(text, str))[:LOOKED_AT]


def _language_of_text(text: str) -> str:
    scripts = Counter(script for character in text if character.isalpha() if (script := _script(character)))
    if not scripts:
        return "none"
    kana = scripts["HIRAGANA"] + scripts["KATAKANA"]
    if kana * 10 > scripts["CJK"] and kana + scripts["CJK"] > scripts.total() / 2:
        return "ja"  # Japanese mixes kana with the characters it shares with Chinese
    [(script, _)] = scripts.most_common(1)
    if script == "LATIN":
        return _language_of_words(text) or "Latin"
    return LANGUAGE_OF_SCRIPT.get(script, script.capitalize())


def _language_of_words(text: str) -> str | None:
    found = Counter(LANGUAGE_OF_WORD.get(word) for word in re.findall(r"[^\W\d_]+", text.lower()))
    del found[None]
    first = found.most_common(2)
    is_clear = first and (len(first) == 1 or first[0][1] > first[1][1])
    return first[0][0] if is_clear else None


@lru_cache(4096)
def _script(character: str) -> str:
    """Return the script of a letter, as its Unicode name begins."""
    return unicodedata.name(character, "").split(" ", 1)[0].split("-", 1)[0]
