"""What markers mean, for the whole suite: folders mirror the rooms of src/, and a marker says what a test needs."""

import gc
import logging
import os
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings
from tests.browser import CHROMIUM, Browser

settings.register_profile("any machine", deadline=None)  # a busy machine is no fault of the code
settings.load_profile("any machine")

TOGETHER = {
    "tests/data_prep/engine/test_on_ray.py": "cluster",
    **dict.fromkeys(
        (
            "tests/data_prep/tokenizer/test_load.py",
            "tests/training/generation/test_speaker.py",
            "tests/training/weights/test_export_folder.py",
        ),
        "transformers",
    ),
    **dict.fromkeys(
        (
            "tests/launch/executors/test_experiments.py",
            "tests/launch/executors/test_slurm.py",
            "tests/launch/test_submit.py",
            "tests/test_planted_secrets.py",
        ),
        "nemo_run",
    ),
}
"""Files whose tests run in one process: there is one cluster; importing transformers or NeMo-Run takes seconds."""


@pytest.fixture(scope="session", autouse=True)
def no_users_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let no fixture that several tests share find what whoever runs the tests has remembered."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("NEMOTRON_CACHE", str(tmp_path_factory.getbasetemp() / "cache" / "shared"))
        yield


@pytest.fixture(scope="session", autouse=True)
def nothing_outlives_a_power_cut() -> Iterator[None]:
    """Do not wait for the disk after each of thousands of small files."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(os, "fsync", lambda file: None)
        yield


@pytest.fixture(autouse=True)
def empty_user_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test find what another one, or whoever runs them, has remembered."""
    monkeypatch.setenv("NEMOTRON_CACHE", str(tmp_path_factory.getbasetemp() / "cache" / secrets.token_hex(8)))


@pytest.fixture
def caplog(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """As pytest's, also in a process where Megatron-Bridge has trained: it filters the warnings of all loggers."""
    for name, logger in logging.root.manager.loggerDict.items():
        if name.startswith("nemotron") and isinstance(logger, logging.Logger):
            logger.filters.clear()
            logger.setLevel(logging.NOTSET)
    caplog.set_level(logging.WARNING)
    return caplog


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A Chromium to open pages in; mark what uses it as slow."""
    if CHROMIUM is None:
        pytest.skip("needs chromium")
    browser = Browser(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.close()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Keep what is imported and collected, a million objects, out of every later garbage collection."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_finish() -> None:
    """Let torch's fifty loggers pass on what they get: pytest hooks into each that does not, six times a test."""
    for logger in logging.root.manager.loggerDict.values():
        if isinstance(logger, logging.Logger):
            logger.propagate = True


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what needs Megatron or a cluster as slow, and silence Megatron's many warnings."""
    shows_warnings = config.pluginmanager.hasplugin("warnings")  # not with -p no:warnings
    for item in items:
        if item.get_closest_marker("megatron") and shows_warnings:
            item.add_marker(pytest.mark.filterwarnings("ignore"))
        if item.get_closest_marker("megatron") or item.get_closest_marker("slurm"):
            item.add_marker(pytest.mark.slow)


def group_of(nodeid: str) -> str:
    """The tests of a group run in one process: those of a file, which share its fixtures, or of several files."""
    file = nodeid.partition("::")[0]
    return "cluster" if file.startswith("tests/launch/slurm/") else TOGETHER.get(file, file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hand out groups to the processes of -n; xdist 3.8 does not see its own marks for that with pytest 9.2."""
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    return Groups(config, log) if config.getvalue("dist") == "loadscope" else None
