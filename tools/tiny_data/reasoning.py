"""Conversations with reasoning before the answer: arithmetic, word problems, sequences, primes."""

from fractions import Fraction
from math import isqrt
from random import Random

from tiny_data.everyday import NAMES
from tiny_data.messages import Message, Row, assistant, maybe_system, row, system, user

SYSTEMS = ("You are a careful mathematician. Think before you answer.", "You are a helpful assistant.")
# (question, reasoning, answer) of an addition, in languages other than English
ADDITIONS = (
    ("Was ist {a} + {b}?", "Ich addiere {a} und {b}. Das ergibt {c}.", "{a} + {b} ist {c}."),
    ("Combien font {a} + {b} ?", "J'additionne {a} et {b}. Cela donne {c}.", "{a} + {b} font {c}."),
    ("¿Cuánto es {a} + {b}?", "Sumo {a} y {b}. El resultado es {c}.", "{a} + {b} es {c}."),
    ("{a} 加 {b} 等于多少？", "把 {a} 和 {b} 相加，得到 {c}。", "{a} 加 {b} 等于 {c}。"),
    ("{a} 足す {b} はいくつですか？", "{a} と {b} を足すと {c} になります。", "{a} 足す {b} は {c} です。"),
    ("كم يساوي {a} + {b}؟", "أجمع {a} و {b} فأحصل على {c}.", "{a} + {b} يساوي {c}."),
)

Solved = tuple[str, str, str]  # question, reasoning, answer


def addition(rng: Random) -> Solved:
    a, b = rng.randint(11, 99), rng.randint(11, 99)
    tens, ones = a // 10 * 10 + b // 10 * 10, a % 10 + b % 10
    steps = (
        f"I add the tens and the ones. {a // 10 * 10} + {b // 10 * 10} = {tens}. "
        f"{a % 10} + {b % 10} = {ones}. {tens} + {ones} = {a + b}."
    )
    return f"What is {a} + {b}?", steps, f"{a} + {b} = {a + b}."


def multiplication(rng: Random) -> Solved:
    a, b = rng.randint(12, 99), rng.randint(3, 9)
    tens, ones = a // 10 * 10, a % 10
    steps = (
        f"I split {a} into {tens} + {ones}. {tens} * {b} = {tens * b}. {ones} * {b} = {ones * b}. "
        f"{tens * b} + {ones * b} = {a * b}."
    )
    return f"What is {a} * {b}?", steps, f"{a} * {b} = {a * b}."


def apples(rng: Random) -> Solved:
    name, had, bags, each = rng.choice(NAMES), rng.randint(3, 20), rng.randint(2, 6), rng.randint(3, 9)
    bought = bags * each
    return (
        f"{name} has {had} apples and buys {bags} bags with {each} apples each. How many apples does {name} have now?",
        f"The bags hold {bags} * {each} = {bought} apples. With the {had} from before that is {had} + {bought} = "
        f"{had + bought}.",
        f"{name} has {had + bought} apples now.",
    )


def journey(rng: Random) -> Solved:
    speed, hours = 10 * rng.randint(4, 12), rng.randint(2, 7)
    return (
        f"A train travels at {speed} kilometres per hour for {hours} hours. How far does it go?",
        f"Distance is speed times time. {speed} * {hours} = {speed * hours}.",
        f"The train goes {speed * hours} kilometres.",
    )


def discount(rng: Random) -> Solved:
    price, percent = 20 * rng.randint(2, 15), rng.choice((5, 10, 20, 25, 50))
    off = price * percent // 100  # whole, because the price is a multiple of 20
    return (
        f"A coat costs {price} euros. It is reduced by {percent} percent. What does it cost now?",
        f"{percent} percent of {price} is {off}. {price} - {off} = {price - off}.",
        f"The coat costs {price - off} euros now.",
    )


def next_number(rng: Random) -> Solved:
    start, step = rng.randint(1, 30), rng.randint(2, 12)
    shown = [start + step * i for i in range(4)]
    return (
        f"Which number comes next: {', '.join(map(str, shown))}?",
        f"Each number is {step} more than the one before. {shown[-1]} + {step} = {shown[-1] + step}.",
        f"The next number is {shown[-1] + step}.",
    )


def larger_fraction(rng: Random) -> Solved:
    one, other = rng.sample([(a, b) for b in range(2, 10) for a in range(1, b) if Fraction(a, b).denominator == b], 2)
    left, right = one[0] * other[1], other[0] * one[1]
    (a, b), (c, d) = (one, other) if left > right else (other, one)
    return (
        f"Which is larger, {one[0]}/{one[1]} or {other[0]}/{other[1]}?",
        f"I compare by cross multiplication. {one[0]} * {other[1]} = {left} and {other[0]} * {one[1]} = {right}. "
        f"{max(left, right)} is larger than {min(left, right)}.",
        f"{a}/{b} is larger than {c}/{d}.",
    )


def prime(rng: Random) -> Solved:
    n = rng.randrange(11, 200, 2)
    tried = [p for p in (3, 5, 7, 11, 13) if p <= isqrt(n)]
    divisor = next((p for p in tried if n % p == 0), None)
    checks = [f"{n} = {p} * {n // p} + {n % p}." for p in tried[: tried.index(divisor) if divisor else None]]
    if divisor:
        verdict = f"No, {n} is not prime: {n} = {divisor} * {n // divisor}."
        checks.append(f"{n} = {divisor} * {n // divisor}, so {divisor} divides it.")
    else:
        verdict = f"Yes, {n} is prime."
        checks.append("No prime up to its square root divides it.")
    return f"Is {n} a prime number?", f"{n} is odd. " + " ".join(checks), verdict


PROBLEMS = (addition, multiplication, apples, journey, discount, next_number, larger_fraction, prime)


def _exchange(rng: Random) -> list[Message]:
    question, steps, answer = rng.choice(PROBLEMS)(rng)
    return [user(question), assistant(answer, reasoning=steps)]


def problem(rng: Random) -> Row:
    """One question, its reasoning in `reasoning_content`, its answer."""
    return row(*maybe_system(rng, SYSTEMS, 0.4), *_exchange(rng))


def inline_problem(rng: Random) -> Row:
    """The reasoning inside the content, between think tags; one or two turns."""
    messages = []
    for _ in range(rng.randint(1, 2)):
        question, steps, answer = rng.choice(PROBLEMS)(rng)
        messages += [user(question), assistant(f"<think>\n{steps}\n</think>\n{answer}")]
    return row(*maybe_system(rng, SYSTEMS, 0.4), *messages)


def lesson(rng: Random) -> Row:
    """Two or three problems in a row, every answer with its reasoning."""
    messages = maybe_system(rng, SYSTEMS, 0.4)
    for _ in range(rng.randint(2, 3)):
        messages += _exchange(rng)
    return row(*messages)


def partly_reasoned(rng: Random) -> Row:
    """Reasoning in one turn and none in the next (left out, null or blank)."""
    thanks = assistant("You are welcome! Ask me any time.")
    absent = rng.randrange(3)
    if absent:
        thanks["reasoning_content"] = None if absent == 1 else "\n"
    return row(*_exchange(rng), user("Thank you!"), thanks)


def addition_elsewhere(rng: Random) -> Row:
    """Reasoning in another language than English."""
    a, b = rng.randint(2, 60), rng.randint(2, 60)
    question, steps, answer = (text.format(a=a, b=b, c=a + b) for text in rng.choice(ADDITIONS))
    return row(user(question), assistant(answer, reasoning=steps))


def long_lesson(rng: Random, problems: int) -> Row:
    """A long lesson: trained as one sequence per user turn, each with a longer history than the one before."""
    messages = [system("You are a careful mathematician. Think before you answer.")]
    for _ in range(problems):
        messages += _exchange(rng)
    return row(*messages)


def long_reasoning(rng: Random, up_to: int) -> Row:
    """One answer whose reasoning alone is longer than a pack: a sum written out term by term."""
    start = rng.randint(1, 9)
    steps, total = [], 0
    for term in range(start, up_to + 1):
        steps.append(f"{total} + {term} = {total + term}.")
        total += term
    return row(
        user(f"Add all whole numbers from {start} to {up_to}, one by one."),
        assistant(f"The sum is {total}.", reasoning="\n".join(steps)),
    )
