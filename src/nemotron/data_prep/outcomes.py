"""Why a readable conversation is not in the output. Unreadable rows have their reasons in conversation.py."""

from enum import StrEnum

from nemotron.data_prep.conversation import DropReason


class LeftOut(StrEnum):
    """Reasons that depend on the config, or on the other conversations, rather than on the row alone."""

    description: str

    def __new__(cls, value: str, description: str) -> "LeftOut":
        member = str.__new__(cls, value)
        member._value_ = value
        member.description = description
        return member

    FILTERED = "filtered", "the row is not meant for this stage (used_in_filter)"
    NO_ASSISTANT_TOKENS = "no_assistant_tokens", "no token of an assistant's turn would be trained"
    SPECIAL_TOKENS = "special_tokens", "a control token is written out in the text (special_tokens_in_content)"
    OVERLONG = "overlong", "not even one answer ends within pack_size (or max_doc_tokens)"
    DUPLICATE = "duplicate", "an earlier conversation is identical (dedupe)"
    IN_ANOTHER_SPLIT = "in_another_split", "the blend lists an identical conversation for valid or test"
    NOT_SAMPLED = "not_sampled", "not chosen by sample"
    BLEND_WEIGHT = "blend_weight", "more than the dataset's share of the blend"


def describe(reason: str) -> str:
    """One line on what a reason means."""
    for reasons in (LeftOut, DropReason):
        if reason in reasons:
            return reasons(reason).description
    raise ValueError(f"unknown reason {reason!r}")
