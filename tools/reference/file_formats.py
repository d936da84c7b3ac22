"""What stands in the files: Parquet columns, metadata.json, the records of a training run."""

import inspect

from tools.reference.tables import code, field_table, table

from nemotron.data_prep.output import metadata
from nemotron.data_prep.output.counting_roles import RoleStats
from nemotron.data_prep.output.distributions import Distribution
from nemotron.data_prep.packing.shards import COLUMNS, ShardReceipt
from nemotron.training.reporting import fields

_NESTED = {
    "Each of `datasets`": metadata.DatasetStats,
    "Each of `splits`": metadata.SplitStats,
    "`overlong`": metadata.OverlongStats,
    "Each of `distributions`": Distribution,
    "Each of a dataset's `roles`": RoleStats,
    "Each of a dataset's `notes`": metadata.NoteStats,
    "Each of a dataset's `modes`": metadata.ModeStats,
    "Each of a dataset's `checks`": metadata.CheckStats,
    "Each of a split's `shards`": ShardReceipt,
}


def file_formats_page() -> str:
    """Return the page of Parquet columns and the keys of metadata.json."""
    columns = table(
        ("Column", "Type", "Meaning"),
        ((code(name), code(f"list<{column.kind}>"), column.meaning) for name, column in COLUMNS.items()),
    )
    nested = [f"### {title}\n\n{inspect.getdoc(schema)}\n\n{field_table(schema)}" for title, schema in _NESTED.items()]
    return "\n\n".join(
        [
            "# File formats",
            "[outputs.md](outputs.md) says which files there are; [metrics.md](metrics.md) has a run's records.",
            f"## Parquet shards\n\nA row is a pack, without padding at its end.\n\n{columns}",
            "## metadata.json",
            field_table(metadata.Metadata),
            "`totals` sums `conversations`, `tokens`, `padding` and `supervised_tokens` over the splits.",
            *nested,
        ]
    )


def metrics_page() -> str:
    """Return the page of the fields of metrics.jsonl, validation.jsonl and test.jsonl."""

    def fields_table(described: dict[str, str]) -> str:
        return table(("Field", "Meaning"), ((code(name), meaning) for name, meaning in described.items()))

    return "\n\n".join(
        [
            "# Metrics",
            "A loss is `null` where a batch, or an evaluation, has no supervised token. `D` is a depth of multi-token "
            "prediction, from 1.",
            f"## metrics.jsonl\n\nOne object per logged iteration.\n\n{fields_table(fields.ITERATION)}",
            "## validation.jsonl and test.jsonl\n\nOne object per evaluation.\n\n" + fields_table(fields.EVALUATION),
        ]
    )
