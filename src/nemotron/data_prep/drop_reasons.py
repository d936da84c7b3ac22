"""List the reasons why a row is not in the output."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Self


class Described(StrEnum):
    """A name and its meaning."""

    description: str

    def __new__(cls, value: str, description: str) -> Self:
        member = str.__new__(cls, value)
        member._value_ = value
        member.description = description
        return member


class DropReason(Described):
    """Why a row gives no training data.

    Reports and `dropped.jsonl.zst` show the value.
    """

    BAD_JSON = "bad_json", "the line is not valid JSON, or the row not valid CSV"
    NOT_AN_OBJECT = "not_an_object", "the row is valid JSON but not an object"
    NO_MESSAGES = "no_messages", "the messages field is missing, empty or not a list"
    BAD_MESSAGE = "bad_message", "a message is not an object"
    BAD_ROLE = "bad_role", "a message's role is missing or unknown"
    BAD_CONTENT = "bad_content", "a message's content (or reasoning) is missing or is not text"
    BAD_TOOL_CALLS = "bad_tool_calls", "an assistant's tool_calls are not a list of named functions"
    BAD_TOOL_ARGUMENTS = (
        "bad_tool_arguments",
        "a tool call's arguments are broken JSON, not an object, given twice, or under an unknown name",
    )
    BAD_TOOLS = "bad_tools", "the tools field is not a list of named functions"
    BAD_TRAIN_FLAG = "bad_train_flag", "a loss flag is not true/false or 1/0, or two contradict each other"
    BAD_REASONING_MODE = (
        "bad_reasoning_mode",
        "the row's own reasoning mode (reasoning, chat_template_kwargs) is none, or contradicts itself",
    )
    NO_ASSISTANT_TURN = "no_assistant_turn", "no message is an assistant's, so there is nothing to learn"
    NO_TRAINED_TURN = "no_trained_turn", "every assistant turn is marked as context only (train: false, weight: 0)"
    AMBIGUOUS = "ambiguous", "something is given twice, and differently: under two names, or in two places"
    PREFERENCE_DATA = (
        "preference_data",
        "the row compares answers (chosen, rejected, label), and SFT has no use for a bad one",
    )
    MEDIA = "media", "the row has images, audio or video"
    TEMPLATE_ERROR = "template_error", "the chat template refused the conversation, or took too long for it"
    TEMPLATE_MISMATCH = (
        "template_mismatch",
        "the chat template loses a part of an answer, or does not show where it begins and ends",
    )
    NOT_ENCODED = "not_encoded", "the library that encodes gives up on the text"


class LeftOut(Described):
    """Reasons that depend on more than the row: the config or other conversations."""

    FILTERED = "filtered", "the row is not meant for this stage (used_in_filter)"
    UNUSED_FIELDS = "unused_fields", "the row has fields that are not used (strict_fields)"
    NO_ASSISTANT_TOKENS = "no_assistant_tokens", "no token of an assistant's turn would be trained"
    SPECIAL_TOKENS = "special_tokens", "a control token is written out in the text (special_tokens_in_content)"
    OVERLONG = "overlong", "longer than pack_size or max_doc_tokens; with split_turns, not even one answer ends within"
    DUPLICATE = "duplicate", "an earlier conversation is identical (dedupe)"
    IN_ANOTHER_SPLIT = "in_another_split", "the blend lists an identical conversation for valid or test"
    NOT_SAMPLED = "not_sampled", "not chosen by sample"
    BLEND_WEIGHT = "blend_weight", "more than the dataset's share of the blend"


@dataclass(frozen=True)
class Unreadable:
    """Replaces a value in a row that cannot be read from its file.

    Only rows that need the value are dropped.
    """

    reason: str


class RowError(Exception):
    """A row that cannot be trained on: dropped and counted under `reason`.

    `detail` names the value at fault.
    """

    def __init__(self, reason: DropReason | LeftOut, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def describe(reason: str) -> str:
    """Explain a reason in one line."""
    for reasons in (LeftOut, DropReason):
        if reason in reasons:
            return reasons(reason).description
    raise ValueError(f"unknown reason {reason!r}")
