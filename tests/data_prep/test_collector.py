"""Rare garbage collection around imports and rows."""

import gc

import pytest

from nemotron.data_prep.collector import CONTAINERS, collect_rarely


def fail_to_import() -> None:
    with collect_rarely():
        assert gc.get_threshold()[0] == CONTAINERS
        raise ImportError


def test_collection_is_as_before_after_the_block_and_after_a_failed_import() -> None:
    before = gc.get_threshold()
    with pytest.raises(ImportError):
        fail_to_import()
    assert gc.get_threshold() == before


def test_a_collector_that_is_off_stays_off() -> None:
    gc.disable()
    try:
        with collect_rarely():
            assert not gc.isenabled()
        assert not gc.isenabled()
    finally:
        gc.enable()
