"""Inputs on the Hugging Face hub: a server on loopback that answers as the hub does."""

import gzip
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nemotron.data_prep.plan import make_plan
from nemotron.data_prep.sources import cut, find_files, read_rows
from nemotron.data_prep.sources import hub as hub_source
from nemotron.data_prep.sources import rows as source_rows
from nemotron.data_prep.sources.blend import Dataset
from nemotron.errors import UserError

COMMITS = {"main": "a" * 40, "old": "b" * 40}
README = """---
license: cc-by-4.0
configs:
- config_name: algebra
  data_files:
  - split: train
    path: algebra/train-*
  - split: validation
    path: [algebra/held_out.jsonl]
- config_name: geometry
  data_files: geometry/*.jsonl
---
# A dataset
"""


class Hub:
    """Repositories by name: files by revision. `ranges` are the ranges that were asked for."""

    def __init__(self) -> None:
        self.repos: dict[str, dict[str, dict[str, bytes]]] = {}
        self.ranges: list[str | None] = []
        self.honours_ranges = True

    def answer(self, path: str, range: str | None) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body."""
        path = unquote(urlsplit(path).path)
        if found := re.fullmatch(r"/api/datasets/(\w+/[\w.-]+)(?:/(revision|tree)/([^/]+))?", path):
            name, what, revision = found.groups()
            files, sha = self._files(name, revision or "main")
            if files is None:
                return sha, {"X-Error-Code": _ERROR_CODES[sha], "X-Error-Message": "no"}, b"{}"
            body: Any = {"id": name, "sha": sha, "siblings": [{"rfilename": file} for file in files]}
            if what == "tree":
                body = [_entry(file, content) for file, content in files.items()]
            return 200, {"Content-Type": "application/json"}, json.dumps(body).encode()
        if found := re.fullmatch(r"/datasets/(\w+/[\w.-]+)/resolve/([^/]+)/(.+)", path):
            files, _ = self._files(found[1], found[2])
            self.ranges.append(range)
            return self._content((files or {})[found[3]], range)
        return 404, {}, b""

    def _files(self, name: str, revision: str) -> tuple[dict[str, bytes] | None, Any]:
        if name == "org/gated":
            return None, 403
        if name not in self.repos:
            return None, 401
        by_commit = {COMMITS[known]: known for known in self.repos[name]}
        branch = by_commit.get(revision, revision)
        return (self.repos[name][branch], COMMITS[branch]) if branch in self.repos[name] else (None, 404)

    def _content(self, content: bytes, range: str | None) -> tuple[int, dict[str, str], bytes]:
        if range is None or not self.honours_ranges:
            return 200, {}, content
        start, end = (int(bound) for bound in range.removeprefix("bytes=").split("-"))
        return 206, {}, content[start : end + 1]


_ERROR_CODES = {401: "RepoNotFound", 403: "GatedRepo", 404: "RevisionNotFound"}


def _entry(path: str, content: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "path": path, "size": len(content)}
    entry["oid"] = hashlib.sha1(content).hexdigest()
    if path.endswith(".parquet"):  # stored apart, as large files are
        oid = hashlib.sha256(content).hexdigest()
        entry["lfs"] = {"oid": oid, "size": len(content), "pointerSize": 130}
    return entry


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = hub.answer(self.path, self.headers.get("Range"))
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield hub
    server.shutdown()
    server.server_close()


def lines(*values: Any) -> bytes:
    return "".join(json.dumps(value) + "\n" for value in values).encode()


@pytest.fixture
def math(hub: Hub) -> Hub:
    """A dataset with declared subsets and splits."""
    hub.repos["org/math"] = {
        "main": {
            "README.md": README.encode(),
            "algebra/train-0.jsonl": lines(1, 2),
            "algebra/train-1.jsonl": lines(3),
            "algebra/held_out.jsonl": lines(4),
            "geometry/all.jsonl": lines(5),
            "notes.txt": b"x",
            "docs/notes.txt": b"x",
        }
    }
    return hub


def values_of(path: str, **dataset: Any) -> list[Any]:
    found = find_files(Dataset("test", path, **dataset))
    return [row.value for file in found for part in cut(file) for row in read_rows(part)]


def test_declared_subsets_and_splits_are_found(math: Hub) -> None:
    assert values_of("hf://org/math", subset="algebra") == [1, 2, 3]
    assert values_of("hf://org/math", subset="algebra", split="validation") == [4]
    assert values_of("hf://datasets/org/math", subset="algebra", split="train+validation") == [4, 1, 2, 3]
    assert values_of("hf://org/math", subset="geometry") == [5]


def test_a_path_inside_the_repository_is_read(math: Hub) -> None:
    assert values_of("hf://org/math/algebra/held_out.jsonl") == [4]
    assert values_of("hf://org/math@main/algebra/train-*") == [1, 2, 3]
    assert values_of("hf://org/math/geometry") == [5]
    with pytest.raises(UserError, match=r"org/math .*algbra .*main"):
        values_of("hf://org/math/algbra")


@pytest.mark.parametrize(
    ("wanted", "message", "hint"),
    [
        ({}, "has several subsets: algebra, geometry", '"subset"'),
        ({"subset": "algbra"}, 'has no subset "algbra"', 'Did you mean "algebra"?'),
        ({"subset": "algebra", "split": "dev"}, 'has no split "dev"', "It has train, validation."),
        ({"path": "hf://org/math/geometry", "split": "train"}, "a path inside the repository and a subset", "only"),
        ({"path": "hf://org/math/docs"}, "no data files", ""),
        ({"subset": "algebra", "split": "trian"}, 'has no split "trian"', 'Did you mean "train"?'),
        ({"path": "hf://math"}, "hf://math is not a dataset on the hub", "hf://org/name"),
        ({"path": "hf://org/none"}, "org/none does not exist on the hub, or is private", "HF_TOKEN"),
        ({"path": "hf://org/gated"}, "org/gated is gated", "https://huggingface.co/datasets/org/gated"),
        ({"path": "hf://org/math@v2"}, "org/math has no revision v2", "a tag"),
    ],
)
def test_what_is_not_there_is_said(math: Hub, wanted: dict[str, str], message: str, hint: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)) as error:
        find_files(Dataset("test", **{"path": "hf://org/math", **wanted}))
    assert hint in (error.value.hint or "")


def test_without_a_readme_names_tell(hub: Hub) -> None:
    hub.repos["org/plain"] = {
        "main": {
            "data/train-00000-of-00002.jsonl": lines(1),
            "data/train-00001-of-00002.jsonl": lines(2),
            "data/dev.jsonl": lines(3),
            "test.jsonl": lines(4),
            "extra/rows.jsonl": lines(5),
        }
    }
    assert values_of("hf://org/plain", subset="default") == [1, 2]
    assert values_of("hf://org/plain", subset="default", split="validation") == [3]
    assert values_of("hf://org/plain", subset="default", split="test") == [4]
    assert values_of("hf://org/plain", subset="extra") == [5]


def test_a_subset_may_be_the_stem_of_a_file(hub: Hub) -> None:
    hub.repos["org/code"] = {
        "main": {
            "data/cpp.part_00.jsonl": lines(1),
            "data/cpp.part_01.jsonl.gz": gzip.compress(lines(2)),
            "data/python-00000-of-00002.jsonl": lines(3),
            "data/python-00001-of-00002.jsonl": lines(4),
        }
    }
    assert values_of("hf://org/code", subset="cpp.part_00") == [1]
    assert values_of("hf://org/code", subset="cpp.part_01") == [2]
    assert values_of("hf://org/code", subset="python") == [3, 4]
    with pytest.raises(UserError, match=r'"cpp\.part_02"') as error:
        values_of("hf://org/code", subset="cpp.part_02")
    assert error.value.hint == 'Did you mean "cpp.part_01"?'


def test_a_subset_may_be_a_split_that_no_config_is_called(hub: Hub) -> None:
    readme = "---\nconfigs:\n- config_name: default\n  data_files:\n  - {split: chat_if, path: data/chat_if.jsonl}\n"
    readme += "  - {split: structured, path: data/outputs.jsonl}\n---\n"
    files = {"README.md": readme.encode(), "data/chat_if.jsonl": lines(1), "data/outputs.jsonl": lines(2)}
    hub.repos["org/chat"] = {"main": files}
    assert values_of("hf://org/chat", subset="chat_if") == [1]
    assert values_of("hf://org/chat", subset="structured") == [2]
    assert values_of("hf://org/chat", subset="outputs") == [2]


@pytest.mark.parametrize(
    ("names", "read"),
    [
        (["small", "default"], "default"),  # by its name
        (["small", "large, default: true"], "large"),  # because it says so
        (["only"], "only"),
    ],
)
def test_without_a_subset_it_is_the_default_or_the_only_one(hub: Hub, names: list[str], read: str) -> None:
    configs = [f"- {{config_name: {name}, data_files: {name.partition(',')[0]}.jsonl}}" for name in names]
    readme = "\n".join(["---", "configs:", *configs, "---", ""])
    files = {f"{name}.jsonl": lines(name) for name in ("small", "default", "large", "only")}
    hub.repos["org/sizes"] = {"main": {"README.md": readme.encode(), **files}}
    assert values_of("hf://org/sizes") == [read]


def test_a_dataset_without_a_train_split_is_read_whole(hub: Hub) -> None:
    readme = "---\nconfigs:\n- config_name: default\n  data_files:\n  - {split: chat, path: a.jsonl}\n"
    readme += "  - {split: code, path: b.jsonl}\n---\n"
    files = {"README.md": readme.encode(), "a.jsonl": lines(1), "b.jsonl": lines(2), "c.jsonl": lines(3)}
    hub.repos["org/parts"] = {"main": files}
    assert values_of("hf://org/parts") == [1, 2]
    assert values_of("hf://org/parts", split="code") == [2]


@pytest.mark.parametrize(
    "front", ["[" * 1500, "configs: 2024-99-99", "configs: [", "configs: {a: *b}", "[]", "configs: 5"]
)
def test_a_readme_that_declares_nonsense_declares_nothing(hub: Hub, front: str) -> None:
    hub.repos["org/odd"] = {"main": {"README.md": f"---\n{front}\n---\n".encode(), "a.jsonl": lines(1)}}
    assert values_of("hf://org/odd") == [1]


def test_a_readme_that_is_not_utf8_is_read_as_far_as_it_is(hub: Hub) -> None:
    front = b"---\nconfigs:\n- config_name: caf\xe9\n  data_files: a.jsonl\n---\n"
    hub.repos["org/odd"] = {"main": {"README.md": front, "a.jsonl": lines(1), "b.jsonl": lines(2)}}
    assert values_of("hf://org/odd") == [1]


def test_the_plan_pins_the_commit(
    math: Hub, make_config: Callable[..., Any], chat: Callable[..., Any], tmp_path: Path
) -> None:
    math.repos["org/math"]["main"]["geometry/all.jsonl"] = lines(chat("Hi", "Hello"))
    plan = make_plan(make_config(blend={"datasets": [{"path": "hf://org/math", "subset": "geometry"}]}))
    [dataset] = plan.to_dict()["datasets"]
    assert dataset["name"] == "math-geometry"
    assert [file["path"] for file in dataset["files"]] == [
        f"hf://datasets/org/math@{COMMITS['main']}/geometry/all.jsonl"
    ]


def test_a_commit_costs_only_the_files_it_changed(math: Hub) -> None:
    files = math.repos["org/math"]["main"]
    math.repos["org/math"]["old"] = {**files, "algebra/train-1.jsonl": lines(0)}
    new, old = (
        find_files(Dataset("test", f"hf://org/math@{revision}", subset="algebra")) for revision in ("main", "old")
    )
    assert [one.digest == other.digest for one, other in zip(new, old, strict=True)] == [True, False]
    assert [row.value for file in old for part in cut(file) for row in read_rows(part)] == [1, 2, 0]


@pytest.mark.parametrize("honours_ranges", [True, False])
def test_parquet_and_lines_are_read_by_ranges(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, honours_ranges: bool
) -> None:
    values = [{"n": number} for number in range(100)]
    pq.write_table(pa.Table.from_pylist(values), tmp_path / "rows.parquet", row_group_size=40)
    hub.repos["org/both"] = {
        "main": {"rows.parquet": (tmp_path / "rows.parquet").read_bytes(), "rows.jsonl": lines(*values)}
    }
    hub.honours_ranges = honours_ranges
    monkeypatch.setattr(source_rows, "PART_BYTES", 100)
    assert values_of("hf://org/both/rows.parquet") == values
    assert values_of("hf://org/both/rows.jsonl") == values
    assert None not in hub.ranges


def test_a_hub_out_of_reach_is_an_error_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"org/math .*refused") as error:
        find_files(Dataset("test", "hf://org/math"))
    assert "HF_ENDPOINT" in (error.value.hint or "")


def test_a_subset_of_a_local_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf'"test" .*split.*{tmp_path}'):
        find_files(Dataset("test", str(tmp_path), split="train"))


def test_files_are_listed_below_all_folders_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders have no content, and the order of an answer is nobody's."""
    asked: list[dict[str, Any]] = []
    tree = [SimpleNamespace(path="data")]
    tree += [SimpleNamespace(path=f"data/{n}.jsonl", blob_id=n, size=3, lfs=None) for n in ("b", "a")]

    def list_tree(repo: str, **options: Any) -> list[Any]:
        asked.append(options)
        return tree

    api = SimpleNamespace(
        dataset_info=lambda *given, **options: SimpleNamespace(sha="c" * 40), list_repo_tree=list_tree
    )
    monkeypatch.setattr(hub_source, "_api", lambda: api)
    found = hub_source.find_on_hub(Dataset("x", "hf://org/name/data/*.jsonl"))
    assert [each.path for each in found] == [f"hf://datasets/org/name@{'c' * 40}/data/{n}.jsonl" for n in ("a", "b")]
    assert asked == [{"recursive": True, "revision": "c" * 40, "repo_type": "dataset"}]


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("hf://org/name", "hf://datasets/org/name"),
        ("hf://datasets/org/name@refs%2Fpr%2F1/a/b.jsonl", "hf://datasets/org/name@refs%2Fpr%2F1/a/b.jsonl"),
        ("hf://org/name@v1/", "hf://datasets/org/name@v1"),
    ],
)
def test_a_path_on_the_hub_is_written_in_one_way(path: str, shown: str) -> None:
    assert str(hub_source.parse_hub_path(path)) == shown


@pytest.mark.parametrize(("status", "read"), [(206, b"0123456"), (200, b"23")])
def test_a_part_of_a_file_is_asked_for_and_cut_where_all_of_it_comes(
    monkeypatch: pytest.MonkeyPatch, status: int, read: bytes
) -> None:
    asked: list[Any] = []

    def get(method: str, url: str, headers: dict[str, str]) -> Any:
        asked.append((method, url.partition("/datasets/")[2], headers))
        return SimpleNamespace(status_code=status, content=b"0123456")

    monkeypatch.setattr("huggingface_hub.utils.http_backoff", get)
    monkeypatch.setattr("huggingface_hub.utils.build_hf_headers", lambda: {"authorization": "mine"})
    monkeypatch.setattr("huggingface_hub.utils.hf_raise_for_status", lambda answer: None)
    assert hub_source.read_range("hf://org/name@v1/a.jsonl", 2, 4) == read
    assert asked == [("GET", "org/name/resolve/v1/a.jsonl", {"authorization": "mine", "range": "bytes=2-3"})]


def test_an_answer_that_is_none_is_an_error_of_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(answer: object) -> None:
        raise ValueError("404: not there\nand more")

    monkeypatch.setattr("huggingface_hub.utils.http_backoff", lambda *given, headers: None)
    monkeypatch.setattr("huggingface_hub.utils.hf_raise_for_status", refuse)
    with pytest.raises(OSError, match=r"^404: not there$"):
        hub_source.read_range("hf://org/name/a.jsonl", 0, 4)


def test_a_file_is_known_by_its_content_and_size() -> None:
    def digest(blob: str, size: int, large: str | None = None) -> str:
        lfs = large and SimpleNamespace(sha256=large)
        path = hub_source.HubPath("org/name", "c" * 40, "a")
        return hub_source._identify(path, SimpleNamespace(blob_id=blob, size=size, lfs=lfs)).digest

    assert digest("1", 3) == hashlib.blake2b(b"hub 1 3", digest_size=16).hexdigest()
    assert digest("1", 3, "2") == digest("2", 3) != digest("1", 3) != digest("1", 4)
