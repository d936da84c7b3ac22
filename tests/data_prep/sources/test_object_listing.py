"""What is asked of an object store, by one in memory that keeps its listings as s3fs and gcsfs do."""

import itertools
import json
from typing import Any

import pytest
from fsspec import AbstractFileSystem

from nemotron.data_prep.sources import InputFile, cut, find_files, object_store, read_rows
from nemotron.data_prep.sources.blend import Dataset
from nemotron.errors import UserError

VALUES = [{"n": 1}, {"n": 2}]
JSONL = "".join(json.dumps(value) + "\n" for value in VALUES).encode()


class Store(AbstractFileSystem):
    """Objects by path; each write gives an object the next ETag."""

    cachable = False

    def __init__(self) -> None:
        super().__init__()
        self.objects: dict[str, bytes] = {}
        self.tags: dict[str, str] = {}
        self._writes = itertools.count()

    def put_object(self, path: str, content: bytes) -> str:
        self.objects[path] = content
        self.tags[path] = f"tag-{next(self._writes)}"
        return f"s3://{path}"

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        path = path.rstrip("/")
        if path not in self.dircache:
            self.dircache[path] = list(self._list(path))
        return self.dircache[path] if detail else [info["name"] for info in self.dircache[path]]

    def _list(self, path: str) -> list[dict[str, Any]]:
        inside = [name for name in self.objects if name == path or name.startswith(f"{path}/")]
        if not inside:
            raise FileNotFoundError(path)
        folders = {f"{path}/{name[len(path) + 1 :].split('/')[0]}" for name in inside if name != path} - {*inside}
        files = [name for name in inside if name == path or "/" not in name[len(path) + 1 :]]
        return [{"name": name, "size": 0, "type": "directory"} for name in sorted(folders)] + [
            {"name": name, "size": len(self.objects[name]), "type": "file", "ETag": self.tags[name]} for name in files
        ]

    def invalidate_cache(self, path: str | None = None) -> None:
        self.dircache.clear() if path is None else self.dircache.pop(path, None)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        return self.objects[path][start:end]


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    store = Store()
    monkeypatch.setattr(object_store, "_store", lambda scheme: store)
    return store


def find(url: str, **dataset: Any) -> list[InputFile]:
    return find_files(Dataset("test", url, **dataset))


def test_rows_are_read_from_objects(store: Store) -> None:
    [file] = find(store.put_object("bucket/rows.jsonl", JSONL))
    assert [row.value for part in cut(file) for row in read_rows(part)] == VALUES


@pytest.mark.parametrize(
    ("url", "dataset", "names"),
    [
        ("s3://bucket/sft", {}, ["a", "b"]),  # in order, not below, and no file of another format
        ("s3://bucket/sft/", {}, ["a", "b"]),
        ("s3://bucket/sft", {"recursive": True}, ["a", "b", "deeper/c"]),
        ("s3://bucket/sft/*.jsonl", {}, ["a", "b"]),
        ("s3://bucket/sft/b.jsonl", {}, ["b"]),
    ],
)
def test_a_prefix_is_a_folder(store: Store, url: str, dataset: dict[str, Any], names: list[str]) -> None:
    for name in ("b.jsonl", "a.jsonl", "deeper/c.jsonl", "README.md"):
        store.put_object(f"bucket/sft/{name}", JSONL)
    assert [file.path for file in find(url, **dataset)] == [f"s3://bucket/sft/{name}.jsonl" for name in names]


def test_an_object_is_what_the_store_says_of_it(store: Store) -> None:
    url = store.put_object("bucket/rows.jsonl", JSONL)
    first, same = find(url)[0], find(url)[0]
    store.put_object("bucket/rows.jsonl", JSONL.replace(b"1", b"4"))
    assert first.digest == same.digest != find(url)[0].digest


def test_a_write_is_seen_although_the_store_keeps_its_listings(store: Store) -> None:
    [file] = find(store.put_object("bucket/rows.jsonl", JSONL))
    store.put_object("bucket/rows.jsonl", JSONL.replace(b"1", b"4"))
    with pytest.raises(UserError, match=r"rows\.jsonl.*changed"):
        list(read_rows(cut(file)[0]))


@pytest.mark.parametrize(
    ("url", "named"),
    [("s3://bucket/rows.jsnl", r"rows\.jsnl"), ("s3://bucket/text", "/text"), ("s3://bucket/text/x.txt", r"x\.txt")],
)
def test_what_is_not_there_is_said(store: Store, url: str, named: str) -> None:
    store.put_object("bucket/rows.jsonl", JSONL)
    store.put_object("bucket/text/x.txt", b"x")
    with pytest.raises(UserError, match=named):
        find(url)


def test_a_store_that_tells_no_version_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a change in the middle of a run would go unseen."""
    url = store.put_object("bucket/rows.jsonl", JSONL)
    store.tags["bucket/rows.jsonl"] = ""
    with pytest.raises(UserError, match="ETag"):
        find(url)


def test_objects_are_listed_by_name_and_read_in_part(store: Store) -> None:
    for name in ("b", "a", "c"):
        store.put_object(f"bucket/{name}.jsonl", JSONL)
    files = find("s3://bucket/*.jsonl")
    assert [file.path for file in files] == [f"s3://bucket/{name}.jsonl" for name in "abc"]
    assert object_store.read_range("s3://bucket/a.jsonl", 2, 5) == JSONL[2:5]
    assert [len(file.digest) for file in files] == [32] * 3


def test_what_is_no_data_is_told_from_what_is_not_there(store: Store) -> None:
    store.put_object("bucket/notes.txt", b"x")
    store.put_object("bucket/folder/notes.txt", b"x")
    for url, problem in (
        ("s3://bucket/notes.txt", "is not of a known format"),
        ("s3://bucket/folder", "no data files in the folder"),
        ("s3://bucket/note.txt", "does not exist"),
    ):
        with pytest.raises(UserError, match=problem) as refused:
            find(url)
        assert ("bucket/notes.txt" in (refused.value.hint or "")) is (problem == "does not exist")
