"""A small OpenAI-compatible server around an exported model, one request at a time: for the tiny model and for tests.

    uv run python examples/serve_export.py EXPORT [PORT]

Real models are served by vLLM or SGLang. A thought is closed after a third of max_tokens, or at `reasoning_budget` of
chat_template_kwargs.
"""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import torch
from budgeted_generation import generate_within
from transformers import AutoModelForCausalLM, AutoTokenizer


class Handler(BaseHTTPRequestHandler):
    """`/v1/models` and `/v1/chat/completions`."""

    protocol_version = "HTTP/1.1"
    lock = threading.Lock()

    def do_GET(self) -> None:
        self._send({"data": [{"id": self.server.name}]})

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        most = int(request.get("max_tokens", 96))
        budget = int(request.get("chat_template_kwargs", {}).get("reasoning_budget") or max(most // 3, 2))
        sampling = {"do_sample": True, "temperature": float(request.get("temperature", 1)) or 1.0}
        model, words = self.server.model, self.server.tokenizer
        with self.lock:
            torch.manual_seed(request.get("seed", 0))
            thought, answer = generate_within(model, words, request["messages"], budget, most - most // 3, **sampling)
        thought_tokens, answer_tokens = (len(words(text).input_ids) for text in (thought, answer))
        usage = {"completion_tokens": thought_tokens + answer_tokens}
        usage["completion_tokens_details"] = {"reasoning_tokens": thought_tokens}
        message = {"role": "assistant", "content": answer, "reasoning_content": thought}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        self._send({"model": self.server.name, "choices": choices, "usage": usage})

    def _send(self, body: dict) -> None:
        content = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


def main(folder: str, port: int) -> None:
    """Serve until killed; prints the address when ready."""
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.name = Path(folder).name
    server.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    server.tokenizer = AutoTokenizer.from_pretrained(folder)
    print(f"http://127.0.0.1:{server.server_address[1]}/v1", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0)
