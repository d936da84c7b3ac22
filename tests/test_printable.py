import pytest

from nemotron.printable import count_of


@pytest.mark.parametrize(("number", "shown"), [(0, "0 files"), (1, "1 file"), (2, "2 files"), (1024, "1,024 files")])
def test_one_is_singular(number: int, shown: str) -> None:
    assert count_of(number, "file") == shown
