"""Rows that test a reader: unusual but valid ones, and broken ones that must be dropped with a reason."""

from random import Random

from tiny_data.geography import COUNTRIES, fact
from tiny_data.messages import Row, assistant, row, system, user


def content_parts(rng: Random) -> Row:
    """Content as a list of text parts."""
    country = rng.choice(COUNTRIES)
    question = [
        {"type": "text", "text": "Answer in one word.\n"},
        {"type": "text", "text": f"What is the capital of {country.name}?"},
    ]
    return row({"role": "user", "content": question}, assistant(country.capital))


def developer_role(rng: Random) -> Row:
    """The role `developer`, the newer name of `system`."""
    plain = fact(rng)["messages"][-2:]
    return row({"role": "developer", "content": "Answer in one sentence."}, *plain)


def context_only_turn(rng: Random) -> Row:
    """A first answer that is wrong and marked `train: false`, and its correction, which trains."""
    right, wrong = rng.sample(COUNTRIES, 2)
    mistaken = assistant(f"The capital of {right.name} is {wrong.capital}.") | {"train": False}
    return row(
        user(f"What is the capital of {right.name}?"),
        mistaken,
        user("Are you sure?"),
        assistant(f"I am sorry, that was wrong. The capital of {right.name} is {right.capital}."),
    )


def null_content(rng: Random) -> Row:
    """An empty system message written as null."""
    return row({"role": "system", "content": None}, *fact(rng)["messages"][-2:])


def assistant_first(rng: Random) -> Row:
    """The assistant opens the conversation."""
    return row(assistant("Hello! How can I help you today?"), *fact(rng)["messages"][-2:])


def two_assistant_turns(rng: Random) -> Row:
    """Two assistant turns in a row."""
    question, answer = fact(rng)["messages"][-2:]
    return row(system("You are a helpful assistant."), question, answer, assistant("Is there anything else?"))


# Each is one line of a file, and each must be dropped, for the reason in the comment.
BROKEN_CHAT_LINES = (
    '{"messages": [{"role": "user", "content": "What is the capital of Fra',  # JSON cut short
    '["What is the capital of France?", "Paris"]',  # not an object
    '{"id": "chat-no-messages", "prompt": "What is the capital of France?"}',  # no `messages`
    '{"messages": []}',  # empty `messages`
    '{"messages": [{"role": "wizard", "content": "Hello."}, {"role": "assistant", "content": "Hi."}]}',  # unknown role
    '{"messages": [{"role": "user", "content": "Is anyone there?"}]}',  # no assistant turn
    '{"messages": [{"role": "user", "content": 42}, {"role": "assistant", "content": "A number."}]}',  # bad content
    '{"messages": ["Hello.", "Hi."]}',  # messages that are not objects
)
BROKEN_TOOL_LINES = (
    '{"messages": [{"role": "user", "content": "What time is it?"}, {"role": "assistant", "content": null, '
    '"tool_calls": [{"id": "call_0", "type": "function", "function": {"name": "get_time", "arguments": "{\\"zone\\": "}'
    "}]}]}",  # arguments that are not JSON
    '{"messages": [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello!"}], '
    '"tools": "get_time"}',  # tools that are not a list
)
