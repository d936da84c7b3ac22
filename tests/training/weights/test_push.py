"""Exports that are pushed: a server on loopback takes them as the hub does, and what arrived is compared."""

import base64
import hashlib
import json
import os
import re
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.training.checkpoints.made_up import write_checkpoint

import nemotron.training.weights.export_adapter
import nemotron.training.weights.export_hf
from nemotron.cli.app import run
from nemotron.training.weights.push import Destination, _advice, _first_line, _token

TOKEN = "hf_pushpushpushpushpushpushpushpush"
FILES = {"config.json": b"{}", "README.md": b"# Fine-tuned\n", "model.safetensors": b"\0" * 2000}


@pytest.mark.parametrize(("status", "is_refused"), [(401, True), (403, True), (404, False), (500, False)])
def test_a_token_that_is_refused_is_the_reason_of_the_servers_answer(status, is_refused):
    error = OSError()
    error.response = SimpleNamespace(status_code=status)
    assert ("HF_TOKEN" in _advice(error)) is is_refused


def test_the_token_is_that_of_either_variable_the_shorter_name_first():
    assert _token({"HF_TOKEN": "", "HUGGING_FACE_HUB_TOKEN": "b"}) == "b"
    assert _token({"HF_TOKEN": "a", "HUGGING_FACE_HUB_TOKEN": "b"}) == "a"
    assert _token({}) is None


class Hub:
    """Repositories by name, as {branch: {path: content}}, and what was asked of it."""

    def __init__(self):
        self.repos, self.private, self.tokens, self.requests = {}, {}, set(), []
        self.stored = {}
        """Large files, by SHA-256."""
        self.refuses_files = False
        self.auth = {}
        """What whoami says of the token; servers other than the hub say nothing."""
        self.knows_tokens = True
        self.on_file = lambda: None
        """Called before a large file is answered."""
        self.address = ""

    def answer(self, method, path, token, body):
        """Status and JSON, or None where a header is all."""
        self.requests.append(f"{method} {path}")
        self.tokens.add(token)
        if token != f"Bearer {TOKEN}" and not path.startswith("/lfs/"):  # where files go is signed by itself
            return 401, {"error": "Invalid username or password."}
        if path == "/api/whoami-v2" and not self.knows_tokens:
            return 404, {"error": "Not Found"}
        if path == "/api/whoami-v2":
            return 200, {"name": "me", "type": "user", "auth": self.auth}
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}
        if path == "/api/repos/create":
            wanted = json.loads(body)
            name = f"{wanted['organization']}/{wanted['name']}"
            if name in self.repos:
                return 409, {"error": "You already created this model repo"}
            self.repos[name], self.private[name] = (
                {"main": {}},
                wanted.get("private") or wanted.get("visibility") == "private",
            )
            return 200, {"url": f"{self.address}/{name}"}
        if path.startswith("/lfs/"):
            self.on_file()
            if self.refuses_files:
                return 403, {"error": "quota"}
            self.stored[path.removeprefix("/lfs/")] = body
            return 200, None
        if found := re.fullmatch(r"/(\w+/\w+)\.git/info/lfs/objects/batch", path):
            href = {"actions": {"upload": {"href": ""}}}
            wanted = json.loads(body)["objects"]
            objects = [
                {**each, **({} if each["oid"] in self.stored else json.loads(json.dumps(href)))} for each in wanted
            ]
            for each in objects:
                if "actions" in each:
                    each["actions"]["upload"]["href"] = f"{self.address}/lfs/{each['oid']}"
            return 200, {"transfer": "basic", "objects": objects}
        found = re.fullmatch(r"/api/models/(\w+/\w+)(?:/(\w+)/(\w+))?", path)
        if found is None or found[1] not in self.repos:
            return 404, {"error": "Repository not found"}
        return self.of_repo(found[1], found[2], found[3], body)

    def of_repo(self, name, what, branch, body):
        if what is None:
            return 200, {"id": name, "private": self.private[name], "siblings": []}
        if what == "branch":
            self.repos[name][branch] = {}
            return 200, None
        if what == "preupload":
            kinds = [
                {
                    "path": each["path"],
                    "uploadMode": "lfs" if each["path"].endswith("tensors") else "regular",
                    "shouldIgnore": False,
                }
                for each in json.loads(body)["files"]
            ]
            return 200, {"files": kinds}
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                self.repos[name][branch][value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                self.repos[name][branch][value["path"]] = self.stored[value["oid"]]
        return 200, {"success": True, "commitOid": "c" * 40, "commitUrl": f"{self.address}/{name}/commit/{'c' * 40}"}


@pytest.fixture
def hub(monkeypatch):
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # headers and body are written one after the other

        def do_GET(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path = self.path.partition("?")[0]
            status, content = hub.answer(self.command, path, self.headers.get("Authorization"), body)
            text = b"" if content is None else json.dumps(content).encode()
            self.send_response(status)
            if status == 404:
                self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_POST = do_PUT = do_GET

        def log_message(self, format, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    yield hub
    server.shutdown()
    server.server_close()


@pytest.fixture
def exports(monkeypatch, tmp_path):
    """A run whose export is these files; what was exported."""
    monkeypatch.chdir(tmp_path)
    folder, made = tmp_path / "run", []
    write_checkpoint(folder / "checkpoints", 40, {"tokenizer": {"tokenizer_model": "words"}})
    (folder / "run.json").write_text('{"hf_model": "tiny_model"}')

    def export(_, target, *rest):
        made.append(target)
        target.mkdir()
        for name, content in FILES.items():
            (target / name).write_bytes(content)

    monkeypatch.setattr(nemotron.training.weights.export_hf, "export_hf", export)
    monkeypatch.setattr(nemotron.training.weights.export_adapter, "export_adapter", export)
    monkeypatch.setattr(nemotron.training.weights.export_adapter, "check_adapters_of", lambda _: None)
    return made


def push(*options, to="org/sft"):
    return run(["super3", "model", "export", "run", "--push", to, *options])


def test_an_export_arrives_as_it_is_without_its_record(hub, exports, tmp_path, capsys):
    assert push() == 0
    assert hub.repos == {"org/sft": {"main": FILES}}
    assert hub.private == {"org/sft": False}
    assert (tmp_path / "run/hf/artifact.json").is_file()  # it names this machine's folders
    assert f"{hub.address}/org/sft/commit/" in capsys.readouterr().out


def test_adapters_go_to_a_private_branch(hub, exports):
    assert push("--adapter", "--private", "--revision", "trial") == 0
    assert hub.repos == {"org/sft": {"main": {}, "trial": FILES}}
    assert hub.private == {"org/sft": True}


def test_the_token_is_sent_to_the_hub_and_written_nowhere(hub, exports, tmp_path, capsys):
    assert push() == 0
    assert f"Bearer {TOKEN}" in hub.tokens
    shown = capsys.readouterr()
    assert TOKEN not in shown.out + shown.err
    written = [path for path in tmp_path.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]
    assert written == []


@pytest.mark.parametrize("name", ["sft", "org/sft/more", "org/", "org/a b", "hf://org/sft", "-org/sft", "org/sft.git"])
def test_a_malformed_name_is_refused_before_the_export(hub, exports, capsys, name):
    assert run(["super3", "model", "export", "run", f"--push={name}"]) == 1
    assert name in capsys.readouterr().err
    assert (exports, hub.requests) == ([], [])


def test_a_missing_token_is_refused_before_the_export(hub, exports, monkeypatch, capsys):
    monkeypatch.delenv("HF_TOKEN")
    assert push() == 1
    assert "HF_TOKEN" in capsys.readouterr().err
    assert (exports, hub.requests) == ([], [])


def test_a_token_that_the_hub_refuses_is_found_before_the_export(hub, exports, monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert push() == 1
    assert "HF_TOKEN" in capsys.readouterr().err
    assert exports == []


def fine_grained(name, *permissions):
    scoped = [{"entity": {"type": "org", "name": name}, "permissions": list(permissions)}]
    return {"role": "fineGrained", "fineGrained": {"global": [], "scoped": scoped}}


@pytest.mark.parametrize(
    "token",
    [
        {"role": "read"},
        fine_grained("org", "repo.content.read"),
        fine_grained("other", "repo.write"),
        {"role": "fineGrained", "fineGrained": {"global": [], "scoped": []}},
    ],
)
def test_a_token_that_may_only_read_is_found_before_the_export(hub, exports, capsys, token):
    hub.auth = {"accessToken": token}
    assert push() == 1
    assert "org/sft" in capsys.readouterr().err
    assert (exports, hub.repos) == ([], {})


@pytest.mark.parametrize(
    "auth",
    [
        {"accessToken": {"role": "write"}},
        {"accessToken": fine_grained("org", "repo.content.read", "repo.write")},
        {"accessToken": fine_grained("org/sft", "repo.write")},
        {"accessToken": {"role": "fineGrained"}},
        {"accessToken": "something"},
        None,
    ],
)
def test_a_token_that_may_write_or_of_which_nothing_is_known_is_used(hub, exports, auth):
    hub.auth = auth
    assert push() == 0
    assert hub.repos == {"org/sft": {"main": FILES}}


def test_a_server_that_answers_nothing_about_tokens_gets_the_export(hub, exports):
    hub.knows_tokens = False
    assert push() == 0
    assert hub.repos == {"org/sft": {"main": FILES}}


def test_ctrl_c_stops_the_upload_and_leaves_the_repository(hub, exports, tmp_path, capsys):
    hub.on_file = lambda: os.kill(os.getpid(), signal.SIGINT)
    hub.refuses_files = True
    assert push() == 130
    assert hub.repos == {"org/sft": {"main": {}}}
    assert f"hf upload org/sft {tmp_path / 'run/hf'}" in capsys.readouterr().err.replace("\n", " ")
    assert (tmp_path / "run/hf/model.safetensors").read_bytes() == FILES["model.safetensors"]


def test_a_hub_out_of_reach_is_found_before_the_export(hub, exports, monkeypatch, capsys):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert push() == 1
    assert "HF_ENDPOINT" in capsys.readouterr().err
    assert exports == []


def test_a_public_repository_gets_nothing_that_is_to_be_private(hub, exports, capsys):
    hub.repos["org/sft"], hub.private["org/sft"] = {"main": {}}, False
    assert push("--private") == 1
    assert "public" in capsys.readouterr().err
    assert (exports, hub.repos) == ([], {"org/sft": {"main": {}}})


def test_nothing_is_pushed_of_an_export_that_failed(hub, monkeypatch, exports):
    def fail(*_):
        raise OSError(28, "No space left on device", "run/hf")

    monkeypatch.setattr(nemotron.training.weights.export_hf, "export_hf", fail)
    assert push() == 1
    assert hub.repos == {}


def test_an_interrupted_upload_leaves_the_repository_and_is_made_up_by_itself(hub, exports, tmp_path, capsys):
    hub.refuses_files = True
    assert push("--revision", "trial") == 1
    assert hub.repos == {"org/sft": {"main": {}, "trial": {}}}
    assert (
        f"hf upload org/sft {tmp_path / 'run/hf'} --exclude artifact.json --revision trial"
        in capsys.readouterr().err.replace("\n", " ")
    )
    assert (tmp_path / "run/hf/model.safetensors").read_bytes() == FILES["model.safetensors"]


def test_a_file_that_arrived_before_is_not_sent_again(hub, exports):
    hub.stored[hashlib.sha256(FILES["model.safetensors"]).hexdigest()] = FILES["model.safetensors"]
    assert push() == 0
    assert not any(request.startswith("PUT") for request in hub.requests)
    assert hub.repos["org/sft"]["main"] == FILES


@pytest.mark.parametrize("line", [["--private"], ["--revision", "x"]])
def test_options_of_a_push_want_one(exports, capsys, line):
    assert run(["super3", "model", "export", "run", *line]) == 2
    assert "--push" in capsys.readouterr().err
    assert exports == []


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError("first.\nsecond"), "first"),
        (OSError(), "OSError"),
        (RuntimeError("a wrapper"), "a wrapper"),
        (ValueError("what it says:"), "what it says"),
    ],
)
def test_of_an_error_the_first_line_is_told(error, line):
    assert _first_line(error) == line
    cause = RuntimeError("a wrapper")
    cause.__cause__ = error
    assert _first_line(cause) == line
    other = ValueError("not a wrapper")
    other.__cause__ = error
    assert _first_line(other) == "not a wrapper"


@pytest.mark.parametrize(
    ("to", "more"),
    [
        (Destination("me/x"), ""),
        (Destination("me/x", private=True), " --private"),
        (Destination("me/x", revision="v 1"), " --revision 'v 1'"),
        (Destination("me/x", private=True, revision="v1"), " --private --revision v1"),
    ],
)
def test_the_same_can_be_uploaded_without_us(to, more):
    assert to.command(Path("out")) == f"hf upload me/x out --exclude artifact.json{more}"
