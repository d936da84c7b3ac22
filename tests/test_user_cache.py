"""What is remembered from run to run saves time, and nothing depends on it."""

from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy
import orjson
import pytest

from nemotron import user_cache
from nemotron.user_cache import recall, remember, version_of


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NEMOTRON_CACHE", str(tmp_path / "kept"))
    return tmp_path / "kept"


def test_what_was_remembered_is_recalled_under_its_key_alone(folder: Path) -> None:
    remember("facts", "a 1", {"ids": [1, 2]})
    assert recall("facts", "a 1") == {"ids": [1, 2]}
    assert recall("facts", "a 2") is None
    assert recall("others", "a 1") is None


@pytest.mark.parametrize("content", [b"", b"[1,", b"null", b"[]", b"{}", b'"text"', b"\xff\x00", b"[" * 5000])
def test_a_broken_file_is_as_good_as_none(folder: Path, content: bytes) -> None:
    remember("facts", "a", [1])
    (file,) = folder.rglob("*.json")
    file.write_bytes(content)
    assert recall("facts", "a") is None


def test_a_damaged_value_is_not_believed(folder: Path) -> None:
    """An id of a token that is another one would train the wrong end of every turn."""
    remember("facts", "a", {"eos_id": 12, "text": "é"})
    remember("facts", "b", {"eos_id": 13})
    file, other = sorted(folder.rglob("*.json"), key=lambda path: b'"eos_id": 13' in path.read_bytes())
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b'"eos_id": 12', b'"eos_id": 14'))
    assert recall("facts", "a") is None
    file.write_bytes(other.read_bytes())
    assert recall("facts", "a") is None
    file.write_bytes(whole)
    assert recall("facts", "a") == {"eos_id": 12, "text": "é"}


def test_a_folder_that_cannot_be_made_costs_nothing_but_time(folder: Path) -> None:
    folder.write_text("in the way")
    remember("facts", "a", [1])
    assert recall("facts", "a") is None


def test_without_a_variable_it_lies_below_the_users_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NEMOTRON_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    remember("facts", "a", [1])
    (file,) = (tmp_path / "nemotron/facts").iterdir()
    assert orjson.loads(file.read_bytes())["value"] == [1]


def test_without_any_variable_it_lies_in_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NEMOTRON_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    remember("facts", "a", [1])
    (file,) = (tmp_path / ".cache/nemotron/facts").iterdir()
    assert len(file.name) == len("0123456789abcdef" * 2 + ".json")


def no_home() -> Path:
    raise RuntimeError("Could not determine home directory.")


def test_without_a_home_nothing_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NEMOTRON_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    remember("facts", "a", [1])
    assert recall("facts", "a") is None


def test_a_value_comes_back_as_json_has_it(folder: Path) -> None:
    remember("facts", "a", {"b": (1, 2), "a": None})
    assert recall("facts", "a") == {"a": None, "b": [1, 2]}


def test_what_is_no_json_is_not_remembered(folder: Path) -> None:
    remember("facts", "a", {1: 2})
    assert recall("facts", "a") is None
    assert not list(folder.rglob("*.json"))


def test_the_version_of_a_package_is_told_without_importing_it() -> None:
    assert version_of("numpy") == f"numpy-{numpy.__version__}.dist-info"


def test_the_version_of_a_package_whose_module_has_another_name_is_its_metadatas() -> None:
    assert version_of("pytest-xdist") == version("pytest-xdist")
    with pytest.raises(PackageNotFoundError):
        version_of("no-such-package")


def test_the_version_of_a_package_without_files_is_its_metadatas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_cache, "find_spec", lambda package: ModuleSpec(package, None, origin=None))
    assert version_of("numpy") == numpy.__version__


def test_of_several_versions_the_first_by_name_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an installation that was interrupted leaves them: which is told must not change from run to run."""
    for number in ("1.0", "2.0", "1.5"):
        (tmp_path / f"odd-{number}.dist-info").mkdir()
    monkeypatch.setattr(
        user_cache, "find_spec", lambda package: ModuleSpec(package, None, origin=str(tmp_path / "odd/__init__.py"))
    )
    assert version_of("odd") == "odd-1.0.dist-info"
