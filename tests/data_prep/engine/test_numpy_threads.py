"""Numpy is imported with one thread, and nothing else is told so."""

import os
import sys
from typing import Any

import pytest

from nemotron.data_prep.engine.numpy_threads import VARIABLE, import_numpy


class Importing:
    """Notes what the environment says when numpy is looked for, which it does not find."""

    def __init__(self) -> None:
        self.said: list[str | None] = []

    def find_spec(self, name: str, *_: Any) -> None:
        if name == "numpy":
            self.said.append(os.environ.get(VARIABLE))
            raise ModuleNotFoundError(name)


@pytest.fixture
def importing(monkeypatch: pytest.MonkeyPatch) -> Importing:
    finder = Importing()
    monkeypatch.delitem(sys.modules, "numpy", raising=False)
    monkeypatch.setattr(sys, "meta_path", [finder, *sys.meta_path])
    monkeypatch.delenv(VARIABLE, raising=False)
    return finder


def test_the_variable_is_gone_again(importing: Importing) -> None:
    with pytest.raises(ModuleNotFoundError):
        import_numpy()
    assert importing.said == ["1"]
    assert VARIABLE not in os.environ


def test_a_number_of_threads_that_is_asked_for_stays(importing: Importing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "3")
    import_numpy()
    assert importing.said == []
    assert os.environ[VARIABLE] == "3"
