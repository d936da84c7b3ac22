"""An OpenAI-compatible endpoint on loopback that misbehaves as a test wants, and prompts to ask it."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from nemotron.rollouts.config import EndpointConfig, PromptsConfig, RolloutsConfig, RolloutsRunConfig

Request = dict[str, Any]
Misbehaviour = Callable[["Endpoint", Request, int], "tuple[int, dict[str, str], bytes] | None"]
"""Called with the request and how often its prompt came before; gives (status, headers, body), or None to answer."""


class Endpoint(ThreadingHTTPServer):
    """Serves one model, `tiny`, which thinks "about <question>" and answers with the question in capitals."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[Request] = []
        self.headers_seen: list[dict[str, str]] = []
        self.times: list[float] = []
        self.misbehave: Misbehaviour = lambda endpoint, request, before: None
        self.message: Callable[[str], dict[str, Any]] = lambda question: {
            "content": question.upper(),
            "reasoning_content": f"about {question}",
        }
        self.finish_reason = "stop"
        self.models = ["tiny"]
        self.lock = threading.Lock()
        self.at_once = self.most_at_once = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    @property
    def asked(self) -> Counter[str]:
        """How often each question came."""
        return Counter(request["messages"][-1]["content"] for request in self.requests)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are written one after the other
    server: Endpoint

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._send(200, {}, json.dumps({"data": [{"id": name} for name in self.server.models]}).encode())

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        with server.lock:
            question = request["messages"][-1]["content"]
            before = server.asked[question]
            server.requests.append(request)
            server.headers_seen.append(dict(self.headers))
            server.times.append(time.monotonic())
            server.at_once += 1
            server.most_at_once = max(server.most_at_once, server.at_once)
        try:
            bad = server.misbehave(server, request, before)
            self._send(*(bad or (200, {}, self._completion(request, question))))
        except (BrokenPipeError, ConnectionResetError):
            pass
        finally:
            with server.lock:
                server.at_once -= 1

    def _completion(self, request: Request, question: str) -> bytes:
        choice = {"message": self.server.message(question), "finish_reason": self.server.finish_reason}
        body = {"model": request["model"], "choices": [choice], "usage": {"completion_tokens": len(question)}}
        return json.dumps(body).encode()

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        length = headers.get("Content-Length", str(len(body)))
        for name, value in {**headers, "Content-Length": length}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        if int(length) != len(body):
            self.close_connection = True


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    server = Endpoint()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def questions(tmp_path: Path) -> Callable[[int], Path]:
    """Write so many one-turn conversations; question 3 is "question 3", its answer "QUESTION 3"."""

    def write(count: int) -> Path:
        rows = [
            {
                "messages": [
                    {"role": "user", "content": f"question {i}"},
                    {"role": "assistant", "content": f"QUESTION {i}"},
                ]
            }
            for i in range(count)
        ]
        path = tmp_path / "questions.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return write


@pytest.fixture
def make_config(tmp_path: Path, endpoint: Endpoint) -> Callable[..., RolloutsConfig]:
    """A config for a source: impatient, so that failures pass quickly."""

    def make(source: Path | str, **settings: Any) -> RolloutsConfig:
        config = RolloutsConfig(
            prompts=PromptsConfig(source=str(source)),
            endpoint=EndpointConfig(base_url=endpoint.url, concurrency=8, timeout_s=5, backoff_s=0.01),
            output_dir=str(tmp_path / "out"),
            run=RolloutsRunConfig(artifacts=str(tmp_path / "artifacts")),
        )
        for key, value in settings.items():
            section: Any = config
            *path, name = key.split("__")
            for part in path:
                section = getattr(section, part)
            setattr(section, name, value)
        return config

    return make
