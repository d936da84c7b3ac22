"""Render datasets, shares, splits, roles, modes and checks."""

from nemotron.data_prep.output.metadata import DatasetStats, Metadata
from nemotron.data_prep.report.bars import Segment, legend, pair, stacked_bar
from nemotron.data_prep.report.tables import Html, count, paragraph, section, share, table, unfold
from nemotron.data_prep.token_roles.role import Role

MOST_BARS = 20


def render_datasets(metadata: Metadata) -> Html:
    """Return a table with the counts of each dataset."""
    header = (
        "dataset", "rows", "kept", "dropped", "repeated", "truncated", "sequences", "tokens", "supervised tokens",
        "supervised", "fill",
    )  # fmt: skip
    rows = [
        (
            one.title,
            *map(count, (one.rows, one.kept, one.rows - one.kept, one.repeated, one.truncated, one.sequences)),
            *(count(one.tokens), count(one.supervised_tokens), share(one.supervised_tokens, one.tokens)),
            "-" if one.fill is None else f"{one.fill:.1%}",
        )
        for one in largest_first(metadata)
    ]
    return section("datasets", "Datasets", table(header, rows, more="datasets"))


def render_blend(metadata: Metadata) -> Html:
    """Return a table of requested and actual shares.

    If there are many datasets, those with the largest differences come first.
    """
    datasets = largest_first(metadata)
    if len(datasets) > MOST_BARS:
        datasets = sorted(datasets, key=lambda one: -abs((one.got or 0.0) - (one.asked or one.got or 0.0)))
    most = max([*(one.asked or 0.0 for one in datasets), *(one.got or 0.0 for one in datasets), 1e-9])
    rows = [
        (
            one.title,
            *("-" if one.asked is None else f"{one.asked:.2%}", "-" if one.got is None else f"{one.got:.2%}"),
            pair(one.asked or 0.0, one.got or 0.0, most),
            count(one.kept + one.repeated),
            share(one.tokens, metadata.tokens),
            f"{one.share_of_supervised:.1%}",
        )
        for one in datasets
    ]
    header = ("dataset", "asked", "got", "", "conversations", "of all tokens", "of all supervised tokens")
    about = paragraph(
        "Asked and got are shares of the conversations of a split, counted as often as they are used. The last column"
        " is the dataset's part of the loss per token."
    )
    keys = legend([("asked", "asked"), ("got", "got")])
    return section("blend", "Shares of the blend", about, keys, table(header, rows, more="datasets"))


def render_splits(metadata: Metadata) -> Html:
    """Return a table with the counts of each split."""
    header = (
        "split", "conversations", "sequences", "packs", "tokens", "supervised tokens", "supervised", "padding", "fill",
        "shards",
    )  # fmt: skip
    rows = [
        (
            one.name,
            *map(count, (one.conversations, one.sequences, one.packs, one.tokens, one.supervised_tokens)),
            share(one.supervised_tokens, one.tokens),
            *(count(one.padding), f"{one.fill:.1%}", count(len(one.shards))),
        )
        for one in metadata.splits
    ]
    return section("splits", "Splits", table(header, rows))


def render_roles(metadata: Metadata) -> Html:
    """Return the tokens by role, in all and per dataset."""
    found = {role: _add_up(metadata.datasets, role) for role in Role}
    tokens = sum(of_role for of_role, _ in found.values())
    rows = [
        (str(role).replace("_", " "), count(of_role), share(of_role, tokens), count(trained), share(trained, of_role),
         role.description)
        for role, (of_role, trained) in found.items() if of_role
    ]  # fmt: skip
    header = ("role", "tokens", "of all tokens", "supervised tokens", "supervised", "what it is")
    keys = legend([(f"role-{role}", str(role).replace("_", " ")) for role, (of_role, _) in found.items() if of_role])
    all_of_them = _role_bar("all datasets", metadata.datasets)
    datasets = largest_first(metadata)
    bars = [_role_bar(one.title, [one]) for one in datasets[:MOST_BARS] if one.tokens]
    left = len(datasets) - MOST_BARS
    rest = f'<p class="more">and {left:,} more datasets: metadata.json has all, under roles.</p>' if left > 0 else ""
    details = table(
        ("dataset", "role", "tokens", "supervised tokens", "supervised"),
        [
            (one.title, role.replace("_", " "), count(stats.tokens), count(stats.supervised_tokens),
             share(stats.supervised_tokens, stats.tokens))
            for one in datasets for role, stats in one.roles.items()
        ],
        text_columns=[1], more="lines",
    )  # fmt: skip
    return section(
        "roles", "Tokens by role", table(header, rows, text_columns=[5]), keys, all_of_them,
        *(bars if len(datasets) > 1 else []), rest, unfold("by dataset, as a table", details),
    )  # fmt: skip


def render_modes(metadata: Metadata) -> Html:
    """Return the reasoning modes of each dataset, requested and actual."""
    header = ("dataset", "mode", "conversations", "sequences", "supervised tokens", "asked", "got")
    rows = [
        (
            one.title, mode.mode, *map(count, (mode.conversations, mode.sequences, mode.supervised_tokens)),
            *("-" if value is None else f"{value:.2%}" for value in (mode.asked, mode.got)),
        )
        for one in largest_first(metadata) for mode in one.modes
    ]  # fmt: skip
    return section("modes", "Reasoning modes", table(header, rows, text_columns=[1], more="lines"))


def render_checks(metadata: Metadata) -> Html:
    """Return the findings of the checks, or nothing if the blend asks for none."""
    rows = [
        (one.title, check.check, check.found, count(check.conversations), f"{check.share:.1%}")
        for one in metadata.datasets
        for check in one.checks
    ]
    header = ("dataset", "check", "found", "conversations", "share")
    return section("checks", "Checks of domains", table(header, rows, text_columns=[1, 2], more="findings"))


def largest_first(metadata: Metadata) -> list[DatasetStats]:
    """Return the datasets; if there are many, those with the most tokens first."""
    few = len(metadata.datasets) <= MOST_BARS
    return metadata.datasets if few else sorted(metadata.datasets, key=lambda one: -one.tokens)


def _role_bar(label: str, datasets: list[DatasetStats]) -> Html:
    segments = [Segment(f"role-{role}", str(role).replace("_", " "), _add_up(datasets, role)[0]) for role in Role]
    tokens = sum(one.tokens for one in datasets)
    supervised = share(sum(one.supervised_tokens for one in datasets), tokens)
    return stacked_bar(label, segments, f"{tokens:,} tokens, {supervised} supervised")


def _add_up(datasets: list[DatasetStats], role: str) -> tuple[int, int]:
    """Add up the tokens and the supervised tokens of a role."""
    found = [one.roles[role] for one in datasets if role in one.roles]
    return sum(stats.tokens for stats in found), sum(stats.supervised_tokens for stats in found)
