"""Numbers next to bars."""

import pytest

from nemotron.data_prep.report.bars import _short


@pytest.mark.parametrize(
    ("number", "written"),
    [
        (0, "0"), (950, "950"), (1536, "1,536"), (9_999, "9,999"), (10_000, "10k"), (12_540, "12.5k"), (1e6, "1M"),
        (3_210_000, "3.21M"), (1e9, "1G"), (2.5e12, "2.5e+03G"),
    ],
)  # fmt: skip
def test_a_number_takes_little_room(number: float, written: str) -> None:
    assert _short(number) == written
