"""What markers mean, for the whole suite: folders mirror the rooms of src/, and a marker says what a test needs."""

import secrets
from collections.abc import Iterator

import pytest
from tests.browser import CHROMIUM, Browser


@pytest.fixture(scope="session", autouse=True)
def no_users_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let no fixture that several tests share find what whoever runs the tests has remembered."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("NEMOTRON_CACHE", str(tmp_path_factory.getbasetemp() / "cache" / "shared"))
        yield


@pytest.fixture(autouse=True)
def empty_user_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test find what another one, or whoever runs them, has remembered."""
    monkeypatch.setenv("NEMOTRON_CACHE", str(tmp_path_factory.getbasetemp() / "cache" / secrets.token_hex(8)))


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A Chromium to open pages in; mark what uses it as slow."""
    if CHROMIUM is None:
        pytest.skip("needs chromium")
    browser = Browser(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.close()


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what needs Megatron or a cluster as slow, silence Megatron's many warnings, and group tests for xdist.

    The tests of a file share its fixtures, so they stay in one process; the tests of a cluster share the one cluster.
    """
    shows_warnings = config.pluginmanager.hasplugin("warnings")  # not with -p no:warnings
    for item in items:
        if item.get_closest_marker("megatron") and shows_warnings:
            item.add_marker(pytest.mark.filterwarnings("ignore"))
        if item.get_closest_marker("megatron") or item.get_closest_marker("slurm"):
            item.add_marker(pytest.mark.slow)
        if item.get_closest_marker("slurm"):
            item.add_marker(pytest.mark.xdist_group("cluster"))
        elif not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))
