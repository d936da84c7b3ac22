"""Inputs on an object store: a real S3 API on loopback.

The libraries of S3 are imported in fixtures, because the quick suite, which collects this file, does not need them.
"""

import gzip
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from nemotron.data_prep.chat.template import load_template
from nemotron.data_prep.inspection.rows import inspect_file
from nemotron.data_prep.pipeline import prepare
from nemotron.data_prep.sources import cut, find_files, object_store, read_rows, sniffing
from nemotron.data_prep.sources import opening as source_opening
from nemotron.data_prep.sources import rows as source_rows
from nemotron.data_prep.sources.blend import Dataset
from nemotron.errors import UserError

pytestmark = pytest.mark.slow

VALUES = [{"n": 1}, {"n": 2, "text": "zwei\u2028Zeilen"}, {"n": 3}]
JSONL = "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in VALUES).encode()
Put = Callable[[str, bytes], str]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def put(endpoint: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Put:
    """Write an object into a bucket of this test's own; returns its URL."""
    import boto3

    for name, value in {
        "AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    forget_connections()
    bucket = f"bucket-{abs(hash(request.node.nodeid))}"
    client = boto3.client("s3")
    client.create_bucket(Bucket=bucket)

    def put(key: str, content: bytes) -> str:
        client.put_object(Bucket=bucket, Key=key, Body=content)
        return f"s3://{bucket}/{key}"

    return put


def forget_connections() -> None:
    """Have s3fs read the environment again: a connection of an earlier test knows another endpoint."""
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()


def values_of(path: str, **dataset: Any) -> list[Any]:
    found = find_files(Dataset("test", path, **dataset))
    return [row.value for file in found for part in cut(file) for row in read_rows(part) if not row.is_blank]


def parquet(values: list[Any], folder: Path) -> bytes:
    pq.write_table(pa.Table.from_pylist(values), folder / "rows.parquet", row_group_size=2)
    return (folder / "rows.parquet").read_bytes()


def test_every_kind_of_file_gives_the_same_rows(put: Put, tmp_path: Path) -> None:
    contents = {
        "rows.jsonl": JSONL,
        "rows.jsonl.gz": gzip.compress(JSONL),
        "rows.jsonl.zst": zstandard.compress(JSONL),
        "array.json": json.dumps(VALUES).encode(),
        "array.json.gz": gzip.compress(json.dumps(VALUES).encode()),
    }
    for key, content in contents.items():
        assert values_of(put(key, content)) == VALUES, key
    assert values_of(put("rows.parquet", parquet([{"n": 1}, {"n": 2}, {"n": 3}], tmp_path))) == [
        {"n": 1}, {"n": 2}, {"n": 3},
    ]  # fmt: skip


@pytest.mark.parametrize("part_bytes", [4, 17, 1000])
def test_plain_lines_are_read_by_byte_ranges(put: Put, monkeypatch: pytest.MonkeyPatch, part_bytes: int) -> None:
    monkeypatch.setattr(source_rows, "PART_BYTES", part_bytes)
    monkeypatch.setattr(source_rows, "LINE_REST_BYTES", 7)
    url = put("rows.jsonl", JSONL)
    [file] = find_files(Dataset("test", url))
    assert len(cut(file)) == -(-len(JSONL) // part_bytes)
    assert values_of(url) == VALUES


def test_no_more_is_asked_than_is_needed(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [json.dumps({"n": number}) for number in range(3000)]
    url = put("rows.jsonl", "\n".join(lines).encode())
    monkeypatch.setattr(source_rows, "PART_BYTES", 10_000)
    monkeypatch.setattr(source_rows, "LINE_REST_BYTES", 100)
    asked: list[tuple[int, int]] = []

    def counting(url: str, start: int, end: int) -> bytes:
        asked.append((start, end))
        return object_store.read_range(url, start, end)

    monkeypatch.setattr(source_opening, "_reader", lambda _: counting)
    [file] = find_files(Dataset("test", url))
    # An object is identified by what the store says of it; its beginning is read to tell how its rows stand in it.
    assert asked == [(0, min(file.size, sniffing.HEAD_BYTES))]
    asked.clear()
    assert len([row for part in cut(file) for row in read_rows(part)]) == 3000
    assert sum(end - start for start, end in asked) < file.size + 101 * len(cut(file))


def test_prefixes_and_globs_find_objects(put: Put) -> None:
    for number, key in enumerate(["sft/b.jsonl", "sft/a.jsonl", "sft/deeper/c.jsonl", "sft/README.md", "other.jsonl"]):
        bucket = put(key, json.dumps(number).encode()).removesuffix(key)
    assert values_of(f"{bucket}sft") == [1, 0]
    assert values_of(f"{bucket}sft/") == [1, 0]
    assert values_of(f"{bucket}sft", recursive=True) == [1, 0, 2]
    assert values_of(f"{bucket}sft/*.jsonl") == [1, 0]
    assert values_of(f"{bucket}**/*.jsonl") == [4, 1, 0, 2]


def test_what_is_not_there_is_said(put: Put) -> None:
    url = put("sft/chat.jsonl", JSONL)
    bucket = url.removesuffix("sft/chat.jsonl")
    with pytest.raises(UserError, match=r"sft/chta\.jsonl") as error:
        find_files(Dataset("test", f"{bucket}sft/chta.jsonl"))
    assert error.value.hint == f'Did you mean "{url.removeprefix("s3://")}"?'
    put("text/notes.txt", b"x")
    with pytest.raises(UserError, match=r"/text\b"):
        find_files(Dataset("test", f"{bucket}text"))
    with pytest.raises(UserError, match=r"notes\.txt"):
        find_files(Dataset("test", f"{bucket}text/notes.txt"))
    with pytest.raises(UserError, match="no-such-bucket"):
        find_files(Dataset("test", "s3://no-such-bucket/x.jsonl"))


def test_a_changed_object_is_another_one(put: Put) -> None:
    first = find_files(Dataset("test", put("rows.jsonl", JSONL)))[0]
    same = find_files(Dataset("test", put("rows.jsonl", JSONL)))[0]
    other = find_files(Dataset("test", put("rows.jsonl", JSONL.replace(b"1", b"4"))))[0]
    assert first.digest == same.digest != other.digest
    assert len(first.digest) == 32  # as of a local file
    assert first.size == other.size


def test_an_object_that_changes_during_the_run_stops_it(put: Put) -> None:
    [file] = find_files(Dataset("test", put("rows.jsonl", JSONL)))
    put("rows.jsonl", JSONL.replace(b"1", b"4"))
    with pytest.raises(UserError, match=r"rows\.jsonl.*changed"):
        list(read_rows(cut(file)[0]))


@pytest.mark.parametrize(("scheme", "library", "extra"), [("s3", "s3fs", "s3"), ("gs", "gcsfs", "gcs")])
def test_a_missing_library_is_named_with_its_extra(
    scheme: str, library: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, scheme, raising=False)  # loaded by another test
    with pytest.raises(UserError, match=library) as error:
        find_files(Dataset("test", f"{scheme}://bucket/x.jsonl"))
    assert f"uv sync --extra {extra}" in error.value.hint


def test_a_store_out_of_reach_is_an_error_of_the_user(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    forget_connections()
    with pytest.raises(UserError, match=r'"test".* s3://other/x\.jsonl.*EndpointConnectionError'):
        find_files(Dataset("test", "s3://other/x.jsonl"))


@pytest.mark.parametrize(
    ("profile", "said"), [(None, "NoCredentialsError: Unable to locate credentials"), ("nobody", "ProfileNotFound: ")]
)
def test_without_credentials_it_is_said_where_to_put_them(
    put: Put, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, profile: str | None, said: str
) -> None:
    url = put("rows.jsonl", JSONL)
    [file] = find_files(Dataset("test", url))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))  # no ~/.aws
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    if profile is not None:
        monkeypatch.setenv("AWS_PROFILE", profile)
    for read in (lambda: find_files(Dataset("test", url)), lambda: list(read_rows(cut(file)[0]))):
        forget_connections()
        with pytest.raises(UserError, match=f"{url}: {said}") as error:
            read()
        assert "AWS_ACCESS_KEY_ID" in (error.value.hint or "")
        assert "AWS_PROFILE" in (error.value.hint or "")


class HttpError(Exception):
    """As of gcsfs, which is an extra."""

    code = 401


@pytest.mark.parametrize(
    "error", [HttpError("Invalid Credentials"), OSError("Forbidden: https://storage"), PermissionError(13)]
)
def test_a_refusal_is_told_from_a_failure(error: Exception) -> None:
    with (
        pytest.raises(UserError, match="gs://bucket/x") as refused,
        object_store._store_errors("gs://bucket/x"),
    ):
        raise error
    assert "GOOGLE_APPLICATION_CREDENTIALS" in str(refused.value.hint)
    with pytest.raises(OSError, match="TimeoutError"), object_store._store_errors("gs://bucket/x"):
        raise TimeoutError("slow")


def test_data_prep_from_s3_equals_data_prep_from_files(
    put: Put, make_config: Callable[..., Any], write_rows: Callable[..., Path], chat: Callable[..., Any]
) -> None:
    path = write_rows("chat.jsonl", [chat(f"Question {i}?", "Answer.") for i in range(20)])
    url = put("chat.jsonl", path.read_bytes())
    shards = []
    for where in ("chat.jsonl", url):
        result = prepare(make_config(blend={"datasets": [{"name": "chat", "path": where}]}))
        shards.append([path.read_bytes() for path in sorted(result.splits_dir.rglob("*.parquet"))])
    assert shards[0] == shards[1]
    rows = list(inspect_file(url, load_template("nemotron3")))
    assert [row["line"] for row in rows] == list(range(1, 21))
