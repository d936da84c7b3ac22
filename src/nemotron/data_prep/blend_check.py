"""Check that every dataset of a blend can be read, down to its first row.

This takes seconds and saves a failed overnight run.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from nemotron.data_prep.dialects.admission import Admission
from nemotron.data_prep.drop_reasons import LeftOut, RowError
from nemotron.data_prep.sources import InputFile, Row, cut, find_files, read_rows
from nemotron.data_prep.sources.blend import Blend, Dataset
from nemotron.errors import UserError

FILTERED_ROWS = 1000
"""How many rows to search for the first one that passes the filter."""


@dataclass(frozen=True)
class DatasetCheck:
    """The result for one dataset."""

    name: str
    path: str
    files: int
    bytes: int
    problem: str | None
    """What is wrong; None if the first row can be trained on."""
    hint: str | None
    first_row: str | None
    """The roles of the first row's messages, such as `system user assistant`."""


def check_datasets(blend: Blend, admission_of: Callable[[Dataset], Admission]) -> Iterator[DatasetCheck]:
    """Check the datasets of a blend one after the other.

    Datasets without a path are skipped.
    """
    for dataset in blend.datasets:
        files: list[InputFile] = []
        try:
            files = find_files(dataset)
            roles = _read_first_row(dataset, files, admission_of(dataset))
        except UserError as error:
            yield _make_check(dataset, files, error.message, error.hint, None)
        else:
            yield _make_check(dataset, files, None, None, roles)


def _make_check(
    dataset: Dataset, files: list[InputFile], problem: str | None, hint: str | None, roles: str | None
) -> DatasetCheck:
    return DatasetCheck(dataset.name, dataset.path, len(files), sum(file.size for file in files), problem, hint, roles)


def _read_first_row(dataset: Dataset, files: list[InputFile], admission: Admission) -> str:
    """Return the roles of the first row that passes the filter.

    Raises:
        UserError: There is no such row, or it cannot be trained on.
    """
    rows = (row for file in files for part in cut(file) for row in read_rows(part) if not row.is_blank)
    filtered = 0
    for row in islice(rows, FILTERED_ROWS):
        try:
            conversation = admission.conversation(row)
        except RowError as error:
            if error.reason == LeftOut.FILTERED:
                filtered += 1
                continue
            raise _explain_refusal(files, row, error) from None
        return " ".join(message["role"] for message in conversation.messages)
    if filtered:
        raise UserError(
            f"None of its first {filtered:,} rows names {admission.used_in_filter} in {admission.used_in_field}.",
            "Check used_in_filter, or the dataset's filter in the blend.",
        )
    raise UserError(f"{dataset.path} has no rows.", "Check the path in the blend.")


def _explain_refusal(files: list[InputFile], row: Row, error: RowError) -> UserError:
    return UserError(
        f"{files[0].path}:{row.line + 1} cannot be trained on: {error.reason}: {error.detail}.",
        "Set messages_field, tools_field or format of the dataset, or fix the row.",
    )
