"""Records as they lie on the disk: numbers, aliases and places that may be damaged."""

from pathlib import Path

import pytest

from nemotron.lineage.artifact import (
    Artifact,
    list_names,
    list_versions,
    place_file,
    read,
    read_aliases,
    read_version,
    version_file,
    write,
)


@pytest.fixture
def record(tmp_path):
    """Version 1 of `Data`, which was made in /made."""
    artifact = Artifact(name="Data", type="dataset", path="/made", version=1)
    version_file(tmp_path, "Data", 1).parent.mkdir(parents=True)
    write(artifact, version_file(tmp_path, "Data", 1))
    return artifact


def test_an_alias_that_holds_no_version_is_passed_over(tmp_path):
    (tmp_path / "Data/aliases").mkdir(parents=True)
    held = {"latest": "v2\n", "bare": "7", "word": "vtwo", "long": "v" + 19 * "1", "arabic": "v\u0663", "empty": ""}
    for name, text in held.items():
        (tmp_path / "Data/aliases" / name).write_text(text)
    (tmp_path / "Data/aliases/.hidden").write_text("v1")
    assert read_aliases(tmp_path, "Data") == {"latest": 2, "bare": 7}
    (tmp_path / "Data/aliases/latest").write_text("v" + 18 * "1")
    assert read_aliases(tmp_path, "Data")["latest"] == int(18 * "1")


def test_names_and_versions_are_listed_in_order(tmp_path, record, monkeypatch):
    for name, number in (("Model", 3), ("Data", 12), ("Model", 2), ("A", 1)):
        version_file(tmp_path, name, number).parent.mkdir(exist_ok=True)
        write(record, version_file(tmp_path, name, number))
    version_file(tmp_path, "Data", 7).symlink_to("/no/such/file")
    glob = Path.glob
    for order in (list, lambda found: [*found][::-1]):  # that of a file system is any
        monkeypatch.setattr(Path, "glob", lambda path, pattern, order=order: order(glob(path, pattern)))
        assert list_names(tmp_path) == ["A", "Data", "Model"]
        assert [list_versions(tmp_path, name) for name in ("Data", "Model")] == [[1, 12], [2, 3]]


def test_a_version_is_where_it_was_moved_to_if_that_is_there(tmp_path, record):
    assert read_version(tmp_path, "Data", 1) == record
    place = place_file(tmp_path, "Data", 1)
    place.parent.mkdir()
    for no_place in ("relative", "/no/such/folder", "/a\0b"):
        place.write_text(no_place)
        assert read_version(tmp_path, "Data", 1).path == "/made"
    place.write_text(f"{tmp_path}\n")
    assert read_version(tmp_path, "Data", 1).path == str(tmp_path)


def test_what_is_no_record_says_why(tmp_path):
    with pytest.raises(ValueError, match="No such file"):
        read(tmp_path / "v1.json")
    (tmp_path / "v1.json").write_text("{")
    with pytest.raises(ValueError, match=r"v1\.json is not an artifact record: Expecting"):
        read(tmp_path / "v1.json")
