"""Small programming questions: Python, JavaScript, SQL and the shell."""

from random import Random

from tiny_data.messages import Row, assistant, maybe_system, row, user

SYSTEMS = ("You are a programming assistant. Answer with a code block.", "You are a helpful assistant.")
TABLES = {"customers": "city", "orders": "status", "books": "author", "invoices": "year"}
SHAPES = {
    "the area of a rectangle": ("rectangle_area", "width, height", "width * height"),
    "the perimeter of a rectangle": ("rectangle_perimeter", "width, height", "2 * (width + height)"),
    "the average of two numbers": ("average", "a, b", "(a + b) / 2"),
    "the square of a number": ("square", "x", "x * x"),
    "degrees Celsius in Fahrenheit": ("to_fahrenheit", "celsius", "celsius * 9 / 5 + 32"),
    "whether a number is even": ("is_even", "n", "n % 2 == 0"),
}
FILE_TYPES = ("txt", "csv", "json", "log", "md")


def _fenced(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```"


def python_function(rng: Random) -> Row:
    """A function, sometimes followed by its docstring or its test."""
    purpose = rng.choice(list(SHAPES))
    name, parameters, expression = SHAPES[purpose]
    source = f"def {name}({parameters}):\n    return {expression}"
    messages = [
        user(f"Write a Python function that returns {purpose}."),
        assistant(_fenced("python", source)),
    ]
    if rng.random() < 0.4:
        documented = source.replace(":\n", f':\n    """Return {purpose}."""\n', 1)
        messages += [user("Add a docstring."), assistant(_fenced("python", documented))]
    return row(*maybe_system(rng, SYSTEMS), *messages)


def javascript_function(rng: Random) -> Row:
    purpose = rng.choice(list(SHAPES))
    name, parameters, expression = SHAPES[purpose]
    head, *rest = name.split("_")
    camel = head + "".join(part.capitalize() for part in rest)
    source = f"function {camel}({parameters}) {{\n  return {expression.replace('==', '===')};\n}}"
    return row(
        *maybe_system(rng, SYSTEMS),
        user(f"Write a JavaScript function that returns {purpose}."),
        assistant(_fenced("javascript", source)),
    )


def sql_query(rng: Random) -> Row:
    table = rng.choice(list(TABLES))
    column = TABLES[table]
    query = f"SELECT {column}, COUNT(*) AS n\nFROM {table}\nGROUP BY {column}\nORDER BY n DESC;"
    return row(
        *maybe_system(rng, SYSTEMS),
        user(f"Write a SQL query that counts the rows of the table {table} by {column}, largest first."),
        assistant(_fenced("sql", query)),
    )


def shell_command(rng: Random) -> Row:
    ending = rng.choice(FILE_TYPES)
    return row(
        *maybe_system(rng, SYSTEMS),
        user(f"How do I count the lines of all .{ending} files in a folder from the shell?"),
        assistant(f"Use wc:\n\n{_fenced('bash', f'wc -l *.{ending}')}\n\nThe last line of its output is the total."),
    )


def loop_output(rng: Random) -> Row:
    """What a short loop prints; the answer is computed, not written by hand."""
    stop, step = rng.randint(3, 6), rng.randint(2, 9)
    printed = "\n".join(str(i * step) for i in range(stop))
    program = f"for i in range({stop}):\n    print(i * {step})"
    return row(
        user(f"What does this program print?\n\n{_fenced('python', program)}"),
        assistant(f"It prints {stop} lines:\n\n{_fenced('text', printed)}"),
    )
