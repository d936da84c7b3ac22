"""Questions about countries: single-turn, multi-turn, and a quiz that is longer than any pack."""

from random import Random
from typing import NamedTuple

from tiny_data.messages import Message, Row, assistant, maybe_system, row, system, user

SYSTEMS = (
    "You are a helpful assistant.",
    "You are a geography tutor. Answer in one sentence.",
    "You are a careful assistant. Keep your answers short.",
)


class Country(NamedTuple):
    name: str
    capital: str
    currency: str
    language: str
    continent: str


COUNTRIES = tuple(
    Country(*line.split(", "))
    for line in """\
France, Paris, euro, French, Europe
Germany, Berlin, euro, German, Europe
Spain, Madrid, euro, Spanish, Europe
Portugal, Lisbon, euro, Portuguese, Europe
Italy, Rome, euro, Italian, Europe
Austria, Vienna, euro, German, Europe
Greece, Athens, euro, Greek, Europe
Finland, Helsinki, euro, Finnish, Europe
Norway, Oslo, Norwegian krone, Norwegian, Europe
Sweden, Stockholm, Swedish krona, Swedish, Europe
Denmark, Copenhagen, Danish krone, Danish, Europe
Poland, Warsaw, Polish zloty, Polish, Europe
Hungary, Budapest, forint, Hungarian, Europe
Iceland, Reykjavik, Icelandic krona, Icelandic, Europe
Japan, Tokyo, yen, Japanese, Asia
China, Beijing, renminbi, Mandarin Chinese, Asia
South Korea, Seoul, South Korean won, Korean, Asia
Thailand, Bangkok, baht, Thai, Asia
Vietnam, Hanoi, dong, Vietnamese, Asia
Mongolia, Ulaanbaatar, tugrik, Mongolian, Asia
Jordan, Amman, Jordanian dinar, Arabic, Asia
Egypt, Cairo, Egyptian pound, Arabic, Africa
Morocco, Rabat, Moroccan dirham, Arabic, Africa
Tunisia, Tunis, Tunisian dinar, Arabic, Africa
Angola, Luanda, kwanza, Portuguese, Africa
Mexico, Mexico City, Mexican peso, Spanish, North America
Cuba, Havana, Cuban peso, Spanish, North America
Peru, Lima, sol, Spanish, South America
Chile, Santiago, Chilean peso, Spanish, South America
Colombia, Bogotá, Colombian peso, Spanish, South America
Argentina, Buenos Aires, Argentine peso, Spanish, South America
Uruguay, Montevideo, Uruguayan peso, Spanish, South America
Brazil, Brasília, real, Portuguese, South America
""".splitlines()
)

# attribute -> (a question that stands alone, a follow-up, the answer)
ASPECTS = {
    "capital": ("What is the capital of {name}?", "And what is its capital?", "The capital of {name} is {capital}."),
    "currency": ("Which currency is used in {name}?", "And its currency?", "In {name} people pay with the {currency}."),
    "language": (
        "Which language is most widely spoken in {name}?",
        "Which language do most people speak there?",
        "The most widely spoken language in {name} is {language}.",
    ),
    "continent": ("On which continent is {name}?", "And on which continent is it?", "{name} is in {continent}."),
}


def _exchange(country: Country, aspect: str, *, follow_up: bool) -> tuple[Message, Message]:
    alone, after, answer = ASPECTS[aspect]
    facts = country._asdict()
    return user((after if follow_up else alone).format(**facts)), assistant(answer.format(**facts))


def fact(rng: Random) -> Row:
    """One question, one answer, half of them with a system message."""
    country, aspect = rng.choice(COUNTRIES), rng.choice(list(ASPECTS))
    return row(*maybe_system(rng, SYSTEMS), *_exchange(country, aspect, follow_up=False))


def interview(rng: Random) -> Row:
    """Two to four questions about one country; some end with thanks."""
    country = rng.choice(COUNTRIES)
    messages = maybe_system(rng, SYSTEMS)
    for position, aspect in enumerate(rng.sample(list(ASPECTS), rng.randint(2, 4))):
        messages += _exchange(country, aspect, follow_up=position > 0)
    if rng.random() < 0.4:
        messages += [user("Thank you!"), assistant("You are welcome! Ask me any time.")]
    return row(*messages)


def comparison(rng: Random) -> Row:
    """Two countries in one question, then a conclusion in the second turn."""
    one, other = rng.sample(COUNTRIES, 2)
    same = one.continent == other.continent
    verdict = (
        f"Yes. {one.name} and {other.name} are both in {one.continent}."
        if same
        else f"No. {one.name} is in {one.continent}, and {other.name} is in {other.continent}."
    )
    return row(
        user(f"What are the capitals of {one.name} and {other.name}?"),
        assistant(f"- {one.name}: {one.capital}\n- {other.name}: {other.capital}"),
        user("Are they on the same continent?"),
        assistant(verdict),
    )


def long_quiz(rng: Random, questions: int) -> Row:
    """A quiz of so many short turns that it is longer than a pack, though every turn is short."""
    messages = [system("You are a geography tutor. Answer in one sentence.")]
    for _ in range(questions):
        messages += _exchange(rng.choice(COUNTRIES), rng.choice(list(ASPECTS)), follow_up=False)
    return row(*messages)
