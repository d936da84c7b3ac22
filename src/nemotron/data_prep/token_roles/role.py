"""The roles that tokens are counted by."""

from nemotron.data_prep.drop_reasons import Described


class Role(Described):
    """Who says a token; marks belong to what they open or close.

    The value is what metadata.json shows.
    """

    SYSTEM = "system", "system prompts, with the tools they describe"
    USER = "user", "what users say"
    TOOL = "tool_results", "what tools answer"
    REASONING = "reasoning", "the assistant's thoughts, up to </think>"
    ANSWER = "answer", "the assistant's content"
    CALLS = "tool_calls", "the assistant's calls of tools"
    OTHER = "other", "what is outside all messages"


ROLES = tuple(Role)
"""A role's place is its code in arrays."""
CODE = {role: code for code, role in enumerate(ROLES)}
OF_CHUNK = {"system": Role.SYSTEM, "user": Role.USER, "tool": Role.TOOL, "assistant": Role.ANSWER}
"""The role of a chunk's tokens, if no mark among them says more."""
