"""Render the lengths of conversations and the fill of packs."""

from nemotron.data_prep.output.metadata import Metadata
from nemotron.data_prep.report.bars import histogram
from nemotron.data_prep.report.tables import Html, name, paragraph, section


def render_lengths(metadata: Metadata) -> Html:
    """Return charts of the lengths of conversations, and what did not fit."""
    found, overlong = metadata.distributions, metadata.overlong
    charts = [
        histogram(
            "All tokens of a conversation", found["conversation_tokens"],
            "tokens of a conversation (of its longest sequence)", "conversations",
        ),
        histogram(
            "Supervised tokens of a conversation", found["conversation_supervised"],
            "supervised tokens of a conversation (of all its sequences)", "conversations",
        ),
    ]  # fmt: skip
    if found["sequence_tokens"].counts != found["conversation_tokens"].counts:
        charts.append(histogram("Tokens of a sequence", found["sequence_tokens"], "tokens of a sequence", "sequences"))
    limit = paragraph(
        f"A sequence has at most {overlong.limit:,} tokens (overlong: {name(overlong.policy)}): {overlong.truncated:,}"
        f" conversations are cut, {overlong.dropped:,} dropped, and {overlong.lost_supervised_share:.2%} of the"
        f" supervised tokens lost. A pack size of {overlong.pack_size_for_99_percent:,} would keep 99 % of them."
        " Bins widen with the length."
    )
    return section("lengths", "Lengths", limit, _grid(charts))


def render_packs(metadata: Metadata) -> Html:
    """Return charts of the fill of packs, and of conversations per pack."""
    found = metadata.distributions
    charts = [
        histogram("Fill of packs", found["pack_fill"], f"tokens in percent of {metadata.pack_size:,}", "packs", " %"),
        histogram("Conversations per pack", found["pack_conversations"], "conversations in a pack", "packs"),
    ]
    return section("packs", "Packs", _grid(charts))


def _grid(charts: list[Html]) -> str:
    return f'<div class="charts">{"".join(charts)}</div>'
