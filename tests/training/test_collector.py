"""The pause of garbage collection around imports."""

import gc

import pytest

from nemotron.training.collector import pause_collector


def fail_to_import() -> None:
    with pause_collector():
        assert not gc.isenabled()
        raise ImportError


def test_collection_goes_on_after_the_pause_and_after_a_failed_import() -> None:
    with pytest.raises(ImportError):
        fail_to_import()
    assert gc.isenabled()


def test_a_collector_that_is_off_stays_off() -> None:
    gc.disable()
    try:
        with pause_collector():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
