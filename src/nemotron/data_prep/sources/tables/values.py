"""Convert values of tables to JSON values, and check the names of columns."""

from collections import Counter
from collections.abc import Iterable
from datetime import date, time
from decimal import Decimal
from typing import Any

import pyarrow as pa

from nemotron.data_prep.drop_reasons import Unreadable
from nemotron.errors import UserError


def refuse_repeated_names(names: Iterable[str], where: str) -> None:
    """Refuse two columns with the same name, of which a row would keep only one.

    Args:
        names: The names of the columns.
        where: The source of the names, as the subject of a sentence.

    Raises:
        UserError: A name occurs twice.
    """
    repeated = sorted(name for name, count in Counter(names).items() if count > 1)
    if repeated:
        raise UserError(f'{where} names "{repeated[0]}" twice.', "Give every column a unique name.")


def python_values(column: pa.Array) -> list[Any]:
    """Return the values of a column.

    Values such as text that is not UTF-8 and invalid dates are Unreadable.
    """
    refusals = (ValueError, OverflowError, LookupError)  # from Python's types and time zones
    try:
        return column.to_pylist()
    except refusals:
        values = []
        for value in column:
            try:
                values.append(value.as_py())
            except refusals as error:
                values.append(Unreadable(str(error).strip("'\"")))
        return values


def as_json(value: Any) -> Any:
    """Convert a value of a table to a JSON value, if it has a JSON form.

    Tables give all objects of a column the same keys and fills those a row never had with None: a tool schema would
    list the parameters of every other tool. So None is dropped, except for `content`, the only key of a message that
    may be null.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return {key: as_json(inner) for key, inner in value.items() if inner is not None or key == "content"}
    if isinstance(value, list | tuple):
        return [as_json(inner) for inner in value]
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return _number(value)
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            return Unreadable(str(error))
    return value


def _number(value: Decimal) -> int | float | str:
    """Return the same number, or its digits if no number type can represent it."""
    if not value.is_finite():
        return str(value)
    if value == value.to_integral_value():
        return int(value)
    return float(value) if Decimal(repr(float(value))) == value else str(value)
