"""Short everyday chat in English: greetings, unit conversions, dates, words, lists."""

from datetime import date, timedelta
from random import Random

from tiny_data.messages import Row, assistant, maybe_system, row, user

SYSTEMS = ("You are a helpful assistant.", "You are a friendly assistant.")
NAMES = ("Ada", "Ben", "Chen", "Dora", "Emil", "Fatima", "Grace", "Hiro", "Ines", "Jonas", "Kavya", "Lena")
SMALL_TALK = (
    ("How are you?", "I am doing well, thank you! How can I help you today?"),
    ("What can you do?", "I can answer questions, explain ideas, write text and help with code."),
    ("Good night!", "Good night! Sleep well."),
    ("Can you help me with my homework?", "Of course! Which subject are you working on?"),
    ("I had a long day.", "I am sorry to hear that. I hope the evening is calmer. Would you like to talk about it?"),
    ("Tell me a joke.", "Why did the computer go to the doctor? Because it had a virus."),
)
# (question, one unit in the other, from, to); exact whole factors only
CONVERSIONS = (
    ("How many metres are {n} kilometres?", 1000, "kilometres", "metres"),
    ("How many grams are {n} kilograms?", 1000, "kilograms", "grams"),
    ("How many minutes are {n} hours?", 60, "hours", "minutes"),
    ("How many seconds are {n} minutes?", 60, "minutes", "seconds"),
    ("How many days are {n} weeks?", 7, "weeks", "days"),
    ("How many centimetres are {n} metres?", 100, "metres", "centimetres"),
)
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
WORDS = (
    *("apple", "bridge", "candle", "desert", "engine", "forest", "garden", "harbour", "island", "jacket"),
    *("kitchen", "lantern", "mountain", "notebook", "orange", "pencil", "quarter", "river", "silver"),
    *("table", "umbrella", "village", "window", "yellow", "zebra"),
)
RECIPES = {
    "pancakes": ("flour", "milk", "eggs", "butter", "salt"),
    "tomato soup": ("tomatoes", "onions", "garlic", "vegetable stock", "basil"),
    "a fruit salad": ("apples", "bananas", "oranges", "grapes", "lemon juice"),
    "fried rice": ("rice", "eggs", "peas", "carrots", "soy sauce"),
    "guacamole": ("avocados", "limes", "onions", "coriander", "salt"),
}


def greeting(rng: Random) -> Row:
    """A greeting by name; some go on to a line of small talk."""
    name = rng.choice(NAMES)
    messages = [user(f"Hello, my name is {name}."), assistant(f"Hello {name}! How can I help you today?")]
    if rng.random() < 0.6:
        asked, answered = rng.choice(SMALL_TALK)
        messages += [user(asked), assistant(answered)]
    return row(*maybe_system(rng, SYSTEMS), *messages)


def remembered_name(rng: Random) -> Row:
    """The answer to the last question stands in the first turn."""
    name, (asked, answered) = rng.choice(NAMES), rng.choice(SMALL_TALK)
    return row(
        user(f"Hello, my name is {name}."),
        assistant(f"Hello {name}! How can I help you today?"),
        user(asked),
        assistant(answered),
        user("What is my name?"),
        assistant(f"Your name is {name}."),
    )


def conversion(rng: Random) -> Row:
    if rng.random() < 0.25:
        celsius = 5 * rng.randint(-4, 20)  # multiples of 5 are whole degrees Fahrenheit
        fahrenheit = celsius * 9 // 5 + 32
        return row(
            user(f"What is {celsius} degrees Celsius in Fahrenheit?"),
            assistant(f"{celsius} degrees Celsius is {fahrenheit} degrees Fahrenheit."),
        )
    question, factor, unit, smaller = rng.choice(CONVERSIONS)
    n = rng.randint(2, 30)
    return row(
        *maybe_system(rng, SYSTEMS, 0.3),
        user(question.format(n=n)),
        assistant(f"{n} {unit} are {n * factor} {smaller}."),
    )


def calendar(rng: Random) -> Row:
    """A weekday looked up, then counted on from."""
    day = date(2025, 1, 1) + timedelta(days=rng.randrange(730))
    later = day + timedelta(days=rng.randint(2, 20))
    spoken, spoken_later = (f"{d.day} {MONTHS[d.month - 1]} {d.year}" for d in (day, later))
    return row(
        user(f"What day of the week is {spoken}?"),
        assistant(f"{spoken} is a {WEEKDAYS[day.weekday()]}."),
        user(f"Which date is {(later - day).days} days later?"),
        assistant(f"{(later - day).days} days later is {spoken_later}, a {WEEKDAYS[later.weekday()]}."),
    )


def words(rng: Random) -> Row:
    """Sorting, counting, capitals: small tasks on words with one right answer."""
    task, word, chosen = rng.randrange(3), rng.choice(WORDS), rng.sample(WORDS, rng.randint(3, 6))
    if task == 0:
        question, answer = f'Write the word "{word}" in capital letters.', word.upper()
    elif task == 1:
        question = f'How many letters does the word "{word}" have?'
        answer = f'The word "{word}" has {len(word)} letters.'
    else:
        question = f"Sort these words alphabetically: {', '.join(chosen)}"
        answer = f"In alphabetical order: {', '.join(sorted(chosen))}"
    return row(*maybe_system(rng, SYSTEMS, 0.3), user(question), assistant(answer))


def shopping_list(rng: Random) -> Row:
    """A Markdown list, then the same list shortened."""
    dish = rng.choice(list(RECIPES))
    ingredients = RECIPES[dish]
    have = rng.choice(ingredients)
    return row(
        *maybe_system(rng, SYSTEMS),
        user(f"Write a shopping list for {dish}."),
        assistant(f"Shopping list for {dish}:\n" + "\n".join(f"- {part}" for part in ingredients)),
        user(f"I already have {have}."),
        assistant("Then you still need:\n" + "\n".join(f"- {part}" for part in ingredients if part != have)),
    )


def inventory_total(rng: Random, lines: int) -> Row:
    """One question longer than a pack: not even one turn of it fits."""
    counts = [(rng.choice(WORDS), rng.randint(1, 99)) for _ in range(lines)]
    wanted = rng.choice(WORDS)
    total = sum(count for word, count in counts if word == wanted)
    stock = "\n".join(f"{number}. {word}: {count} pieces" for number, (word, count) in enumerate(counts, 1))
    return row(
        user(f'Here is our inventory. How many pieces of "{wanted}" do we have in all?\n\n{stock}'),
        assistant(f'We have {total} pieces of "{wanted}" in all.'),
    )
