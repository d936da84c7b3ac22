"""List the names under which rows and messages store the same thing.

docs/reference/chat-format.md has the same table. A field whose name is not in these tables is counted and shown if it
is not empty, and never dropped silently.
"""

CONVERSATIONS = ("conversations", "conversation")
"""Fields searched for messages in addition to `messages_field`."""
PAIRS = (("prompt", "completion"), ("instruction", "output"))
"""Unambiguous names of a prompt and its completion."""
PROMPTS = ("prompt", "instruction", "query", "question", "input")
ANSWERS = ("completion", "output", "response", "answer")
"""If a row has exactly one of each, they are a pair too."""
ADDED_INPUTS = ("input", "context")
"""Fields with the input of an instruction."""

SPEAKERS = ("role", "from")
TEXTS = ("content", "value")
ROLES = {
    "system": "system", "developer": "system",
    "user": "user", "human": "user",
    "assistant": "assistant", "gpt": "assistant", "chatgpt": "assistant", "bot": "assistant", "model": "assistant",
    "ai": "assistant", "function_call": "assistant", "tool_call": "assistant",
    "tool": "tool", "function": "tool", "observation": "tool", "function_response": "tool", "tool_response": "tool",
    "ipython": "tool",
}  # fmt: skip
CALLING_ROLES = ("function_call", "tool_call")
"""The text of these roles is a call or a list of calls, which continues the assistant's turn before it."""
TYPES_AS_ROLES = ("human", "ai", "system", "tool", "function")
"""LangChain's names of speakers, under `type`."""

SYSTEM = ("system", "system_prompt", "system_message")
TOOLS = ("tools", "functions")
SCHEMAS = ("parameters", "input_schema", "inputSchema")
CALLS = ("tool_calls", "function_call", "function_calls", "tool_call")
ARGUMENTS = ("arguments", "parameters", "args", "input", "kwargs")
CALL_IDS = ("tool_call_id", "tool_use_id", "call_id")
REASONING = (
    *("reasoning_content", "reasoning", "thinking", "reasoning_details", "thinking_blocks", "reasoning_text"),
    *("thinking_content", "thought"),
)
SWITCHES = ("on", "off")
"""Values of `reasoning` that switch thinking on or off; they are not thoughts."""

TRAINED_FLAGS = (
    *("train", "trainable", "training", "weight", "loss", "loss_weight", "loss_mask", "loss_scale", "step_loss_mask"),
)
"""True or 1 means that the message trains, False or 0 that it is context."""
CONTEXT_FLAGS = ("mask", "masked", "ignore", "ignored", "ignore_loss")
"""The opposite: True or 1 means context."""
PARTIAL_FLAGS = ("train_detail", "training_detail")
"""Flags for ranges within a message, which are not supported."""
FLAGS = frozenset((*TRAINED_FLAGS, *CONTEXT_FLAGS, *PARTIAL_FLAGS))

COMPARED = ("chosen", "rejected", "rejected_response", "rejected_messages")
VERDICTS = ("label", "kto_tag")
"""Labels of preference data; false marks a bad answer."""
MEDIA = ("images", "image", "audios", "audio", "videos", "video")

ROW_METADATA = frozenset((
    *("id", "uuid", "idx", "index", "conversation_id", "source", "dataset", "data_source", "split", "category"),
    *("domain", "language", "license", "version", "generator", "model", "timestamp", "created", "url", "metadata"),
    *("used_in", "rollout", "reference"),
))  # fmt: skip
"""Fields of rows that need no note, because they say where a row comes from, not what it trains."""
MESSAGE_METADATA = frozenset(("id", "index", "timestamp", "name"))
CALL_METADATA = frozenset(("id", "call_id", "tool_call_id", "index", "type"))
MEANINGFUL = frozenset((*SYSTEM, *TOOLS, *REASONING, "messages", *CONVERSATIONS))
"""Names that are meaningful even inside `metadata`."""
