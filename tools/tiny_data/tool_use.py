"""Conversations with tools: single and parallel calls, several rounds, errors, reasoning, and tools left unused."""

from random import Random

from tiny_data.everyday import NAMES
from tiny_data.messages import Row, assistant, call, maybe_system, row, system, tool_result, user

SYSTEMS = ("You are a helpful assistant with access to tools.", "You are a helpful assistant.")


def _tool(name: str, description: str, required: tuple[str, ...] = (), **properties: dict) -> dict:
    parameters = {"type": "object", "properties": properties, "required": list(required)}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


WEATHER = _tool(
    "get_weather",
    "Get the current weather of a city.",
    ("city",),
    city={"type": "string", "description": "The name of the city."},
    unit={"type": "string", "enum": ["celsius", "fahrenheit"], "default": "celsius"},
)
CALCULATOR = _tool(
    "calculate",
    "Evaluate an arithmetic expression.",
    ("expression",),
    expression={"type": "string", "description": "For example 12 * (3 + 4)."},
)
ORDER = _tool(
    "find_order",
    "Look up an order by its number.",
    ("order_id",),
    order_id={"type": "integer", "description": "The number of the order."},
)
REMINDER = _tool(
    "set_reminder",
    "Set a reminder.",
    ("text", "minutes"),
    text={"type": "string"},
    minutes={"type": "integer", "description": "Minutes from now."},
    people={"type": "array", "items": {"type": "string"}, "description": "Who is reminded."},
)
CLOCK = _tool("get_time", "Get the current time.")
# The bare form, without the "function" wrapper, is as common in public data.
SEARCH = _tool("search_catalogue", "Search the library catalogue.", ("query",), query={"type": "string"})["function"]

CITIES = ("Berlin", "Paris", "Oslo", "Rome", "Tokyo", "Cairo", "Lima", "Seoul", "Vienna", "Madrid", "Hanoi", "Athens")
SKIES = ("sunny", "cloudy", "rainy", "windy", "snowy")
STATES = ("shipped", "being packed", "delivered", "waiting for payment")
CHORES = ("water the plants", "call the dentist", "take out the bread", "join the meeting", "feed the cat")
TOPICS = ("astronomy", "gardening", "chess", "poetry", "robots")


def _weather(rng: Random) -> dict:
    return {"temperature": rng.randint(-5, 35), "sky": rng.choice(SKIES)}


def _spoken(city: str, weather: dict) -> str:
    return f"In {city} it is {weather['temperature']} degrees Celsius and {weather['sky']}."


def weather(rng: Random) -> Row:
    city, report = rng.choice(CITIES), _weather(rng)
    asked = call(rng, "get_weather", {"city": city} | ({"unit": "celsius"} if rng.random() < 0.3 else {}))
    return row(
        *maybe_system(rng, SYSTEMS),
        user(f"What is the weather like in {city}?"),
        assistant(rng.choice((None, "")), calls=[asked]),
        tool_result(asked, report),
        assistant(_spoken(city, report)),
        tools=[WEATHER],
    )


def weather_in_two_cities(rng: Random) -> Row:
    """Parallel calls in one turn, their results in order, one answer."""
    cities = rng.sample(CITIES, 2)
    reports = [_weather(rng) for _ in cities]
    asked = [call(rng, "get_weather", {"city": city}) for city in cities]
    warmer = max(zip(reports, cities, strict=True), key=lambda pair: pair[0]["temperature"])[1]
    answer = " ".join(_spoken(city, report) for city, report in zip(cities, reports, strict=True))
    if reports[0]["temperature"] != reports[1]["temperature"]:
        answer += f" It is warmer in {warmer}."
    return row(
        *maybe_system(rng, SYSTEMS),
        user(f"Compare the weather in {cities[0]} and {cities[1]}."),
        assistant("I will look up both cities.", calls=asked),
        *(tool_result(one, report) for one, report in zip(asked, reports, strict=True)),
        assistant(answer),
        tools=[WEATHER, CLOCK],
    )


def calculation(rng: Random) -> Row:
    """Reasoning before the call, and the answer after the result."""
    a, b, c = rng.randint(100, 999), rng.randint(11, 99), rng.randint(2, 99)
    expression = f"{a} * {b} + {c}"
    asked = call(rng, "calculate", {"expression": expression})
    return row(
        user(f"What is {expression}?"),
        assistant("", reasoning="The numbers are large. I use the calculator.", calls=[asked]),
        tool_result(asked, str(a * b + c)),
        assistant(f"{expression} = {a * b + c}.", reasoning=f"The calculator says {a * b + c}."),
        tools=[CALCULATOR],
    )


def order_status(rng: Random) -> Row:
    """Two rounds: the assistant first asks for the number, then looks it up; a second order may follow."""
    messages = maybe_system(rng, SYSTEMS)
    messages += [user("Where is my order?"), assistant("I can look that up. What is the number of your order?")]
    for turn in range(rng.randint(1, 2)):
        number, state = rng.randint(1000, 9999), rng.choice(STATES)
        asked = call(rng, "find_order", {"order_id": number})
        messages += [
            user(f"It is {number}." if turn == 0 else f"And order {number}?"),
            assistant(None, calls=[asked]),
            tool_result(asked, {"order_id": number, "status": state}),
            assistant(f"Your order {number} is {state}."),
        ]
    return row(*messages, tools=[ORDER])


def unknown_order(rng: Random) -> Row:
    """The tool fails; the assistant says so instead of inventing a result."""
    number = rng.randint(1000, 9999)
    asked = call(rng, "find_order", {"order_id": number})
    return row(
        user(f"Where is my order {number}?"),
        assistant(None, calls=[asked]),
        tool_result(asked, {"error": f"no order {number}"}),
        assistant(f"I could not find an order with the number {number}. Please check the number."),
        tools=[ORDER],
    )


def reminder(rng: Random) -> Row:
    """Several parameters, numbers and lists among them."""
    chore, minutes, people = rng.choice(CHORES), 5 * rng.randint(1, 12), rng.sample(NAMES, rng.randint(1, 3))
    asked = call(rng, "set_reminder", {"text": chore, "minutes": minutes, "people": people})
    return row(
        *maybe_system(rng, SYSTEMS, 0.3),
        user(f"Remind {' and '.join(people)} to {chore} in {minutes} minutes."),
        assistant(None, calls=[asked]),
        tool_result(asked, {"ok": True}),
        assistant(f"Done. I will remind {' and '.join(people)} in {minutes} minutes."),
        tools=[REMINDER, CLOCK],
    )


def time(rng: Random) -> Row:
    """A call without arguments: null, an empty object or its text."""
    now = f"{rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}"
    asked = call(rng, "get_time", rng.choice((None, {})))
    return row(
        user("What time is it?"),
        assistant(None, calls=[asked]),
        tool_result(asked, now),
        assistant(f"It is {now}."),
        tools=[CLOCK],
    )


def tools_unused(rng: Random) -> Row:
    """Tools are offered and none is needed."""
    name = rng.choice(NAMES)
    return row(
        *maybe_system(rng, SYSTEMS),
        user(f"Hello, my name is {name}."),
        assistant(f"Hello {name}! How can I help you today?"),
        tools=rng.sample([WEATHER, CALCULATOR, ORDER, REMINDER, CLOCK], 2),
    )


def legacy_function_role(rng: Random) -> Row:
    """Results under the older role `function`."""
    city, report = rng.choice(CITIES), _weather(rng)
    asked = call(rng, "get_weather", {"city": city}, as_text=True)
    result = {"role": "function", "name": "get_weather", "content": tool_result(asked, report)["content"]}
    return row(
        user(f"What is the weather like in {city}?"),
        assistant(None, calls=[asked]),
        result,
        assistant(_spoken(city, report)),
        tools=[WEATHER],
    )


def _catalogue(rng: Random, topic: str, books: int) -> tuple[list[dict], int]:
    """A search result of `books` entries, and the year of the newest."""
    found = [
        {"title": f"Introduction to {topic}, volume {n}", "author": rng.choice(NAMES), "year": rng.randint(1950, 2024)}
        for n in range(1, books + 1)
    ]
    return found, max(book["year"] for book in found)


def catalogue_search(rng: Random, books: int | None = None) -> Row:
    """A search whose result is a list; with many `books` it is longer than a pack."""
    topic = rng.choice(TOPICS)
    found, newest = _catalogue(rng, topic, books or rng.randint(1, 4))
    asked = call(rng, "search_catalogue", {"query": topic})
    noun = "book" if len(found) == 1 else "books"
    return row(
        system("You are a librarian."),
        user(f"Which books about {topic} do you have?"),
        assistant("Let me search the catalogue.", calls=[asked]),
        tool_result(asked, found),
        assistant(f"We have {len(found)} {noun} about {topic}. The newest is from {newest}."),
        tools=[SEARCH],
    )
