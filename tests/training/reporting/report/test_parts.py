"""Times and numbers as the report writes them."""

import math

import pytest

from nemotron.training.reporting.report.parts import clock, number


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0.0123, "0.0123 s"), (5.62, "5.62 s"), (59.94, "59.9 s"), (60, "1 min 00 s"), (184.4, "3 min 04 s"),
        (3599.6, "1 h 00 min"), (3600, "1 h 00 min"), (3725, "1 h 02 min"), (3.6e6, "1,000 h 00 min"),
        (math.nan, ""), (math.inf, ""),
    ],
)  # fmt: skip
def test_a_length_of_time(seconds: float, written: str) -> None:
    assert clock(seconds) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, ""), (0, "0"), (0.12345, "0.123"), (99.94, "99.9"), (100, "100"), (1234.4, "1,234"), (-1234, "-1,234"),
        (999_999, "999,999"), (1e6, "1 million"), (12_345_678, "12.35 million"), (999_999_999, "1,000 million"),
        (1e9, "1 billion"), (999_999_999_999, "1,000 billion"), (1e12, "1 trillion"),
        (-2.5e12, "-2.5 trillion"),
    ],
)  # fmt: skip
def test_a_number_with_its_magnitude(value: float | None, written: str) -> None:
    assert number(value) == written
