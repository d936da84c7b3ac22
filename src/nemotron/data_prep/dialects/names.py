"""The names that rows and messages have for one thing.

Docs/data-prep.md has the same table.

A name that is in no table here is counted and shown when it holds something, never dropped silently.
"""

CONVERSATIONS = ("conversations", "conversation")
"""Where messages are looked for besides `messages_field`."""
PAIRS = (("prompt", "completion"), ("instruction", "output"))
"""Prompt and completion by names that mean nothing else."""
PROMPTS = ("prompt", "instruction", "query", "question", "input")
ANSWERS = ("completion", "output", "response", "answer")
"""Where there is exactly one of each, they are a pair, too."""
ADDED_INPUTS = ("input", "context")
"""What an instruction is about."""

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
"""Their text is a call or a list of calls, and continues the assistant's turn before it."""
TYPES_AS_ROLES = ("human", "ai", "system", "tool", "function")
"""How LangChain names the speaker, under `type`."""

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
"""Values of `reasoning` that say whether to think; they are no thoughts."""

TRAINED_FLAGS = (
    *("train", "trainable", "training", "weight", "loss", "loss_weight", "loss_mask", "loss_scale", "step_loss_mask"),
)
"""True and 1: the message trains. False and 0: it is context."""
CONTEXT_FLAGS = ("mask", "masked", "ignore", "ignored", "ignore_loss")
"""The opposite."""
PARTIAL_FLAGS = ("train_detail", "training_detail")
"""Flags of stretches of a message, which cannot be honoured."""
FLAGS = frozenset((*TRAINED_FLAGS, *CONTEXT_FLAGS, *PARTIAL_FLAGS))

COMPARED = ("chosen", "rejected", "rejected_response", "rejected_messages")
VERDICTS = ("label", "kto_tag")
"""Of preference data: false marks an answer as one not to give."""
MEDIA = ("images", "image", "audios", "audio", "videos", "video")

ROW_METADATA = frozenset((
    *("id", "uuid", "idx", "index", "conversation_id", "source", "dataset", "data_source", "split", "category"),
    *("domain", "language", "license", "version", "generator", "model", "timestamp", "created", "url", "metadata"),
    *("used_in", "rollout", "reference"),
))  # fmt: skip
"""Fields of rows that need no note: they say where a row comes from, not what it trains."""
MESSAGE_METADATA = frozenset(("id", "index", "timestamp", "name"))
CALL_METADATA = frozenset(("id", "call_id", "tool_call_id", "index", "type"))
MEANINGFUL = frozenset((*SYSTEM, *TOOLS, *REASONING, "messages", *CONVERSATIONS))
"""Names that carry meaning even inside `metadata`."""
