"""The language of a conversation, as counted for multilingual domains."""

import pytest

from nemotron.data_prep.domain_checks.languages import detect_language


def answer(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": "?"}, {"role": "assistant", "content": text}]


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("de", "Der Regen ist nicht kalt, und das Wasser steht auf der Straße."),
        ("en", "The rain is not cold, and the water has been on the road for this day."),
        ("es", "La lluvia no es fría, pero los caminos están llenos de agua por las noches."),
        ("fr", "Les routes sont pleines d'eau, et la pluie est froide dans une ville."),
        ("it", "Il treno che parte non è per la città, ma le strade della valle sono anche più belle."),
        ("ja", "雨は冷たくないです。道に水があります。"),
        ("ja", "明日の東京都内の天気予報は晴天。"),
        ("ja", "カタカナ abc где"),  # the most of three, though not half
        ("ja", "ひらがな abc где"),
        ("ko", "한국어말 abc где"),
        ("zh", "路上有水 abc где"),
        ("zh", "雨不冷，路上有水。"),
        ("zh", "日本語的「の」表示所属关系，使用频率非常高。"),
        ("ko", "비는 차갑지 않습니다."),
        ("pt", "Você não fala com os outros, mas são mais como um dos seus."),
        ("nl", "Het water is niet koud, maar het wordt ook een van de dagen dat wij zijn."),
        ("Cyrillic", "Дождь не холодный."),
        ("Latin", "Ndege inaruka."),
        ("Latin", "the der"),  # one word of each
        ("de", "the der und"),
        ("none", "42 + 1 = 43"),
    ],
)
def test_without_a_tag_the_text_tells(language: str, text: str) -> None:
    assert detect_language({}, answer(text)) == language


@pytest.mark.parametrize(("tag", "language"), [("de-AT", "de"), ("DE", "de"), ("zh_Hans", "zh"), ("German", "german")])
@pytest.mark.parametrize("field", ["language", "lang", "locale"])
def test_a_tag_of_the_row_is_believed(field: str, tag: str, language: str) -> None:
    assert detect_language({field: tag}, answer("The answer that was given for you.")) == language


@pytest.mark.parametrize("tag", [None, 7, "", " ", "42", ["de"]])
def test_a_tag_that_names_no_language_is_no_tag(tag: object) -> None:
    assert detect_language({"language": tag}, answer("The answer that was given for you.")) == "en"


def test_what_system_and_tools_say_is_no_sign_of_the_language() -> None:
    english = {"role": "system", "content": "You are the helper that was asked for this. " * 90}
    assert detect_language({}, [english, *answer("Das ist nicht die Frage, und der Rest auch nicht.")]) == "de"


def test_code_and_formulas_do_not_outweigh_words_of_another_script() -> None:
    assert (
        detect_language({}, answer("答えは x = 3 です。print(x) と書きます。そのあと、もう一度やってみてください。"))
        == "ja"
    )


def test_what_the_user_says_counts_too() -> None:
    asked = {"role": "user", "content": "Warum ist der Regen nicht warm, und das Wasser auch nicht?"}
    assert detect_language({}, [asked, {"role": "assistant", "content": "42"}]) == "de"


@pytest.mark.parametrize("tag", [" DE-at", "\nde", "de_DE"])
def test_of_a_tag_only_the_language_counts(tag: str) -> None:
    assert detect_language({"language": tag}, answer("The rain is not cold.")) == "de"
