"""Runs killed at random: the one that ends has every row once."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

PROMPTS = 80


@pytest.mark.slow
def test_a_run_killed_at_random_resumes_to_the_row(endpoint, questions, tmp_path):
    endpoint.misbehave = lambda server, request, before: (
        time.sleep(0.05) or ((503, {}, b"") if random.random() < 0.1 else None)
    )
    line = [
        sys.executable, "-m", "nemotron", "super3", "data", "rollouts", f"prompts.source={questions(PROMPTS)}",
        f"endpoint.base_url={endpoint.url}", "endpoint.concurrency=4", "endpoint.backoff_s=0.01",
        f"output_dir={tmp_path}/out", f"run.artifacts={tmp_path}/artifacts",
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    chance = random.Random(0)
    kills = 0
    for _ in range(40):
        process = subprocess.Popen(line, env=environment, cwd=tmp_path, stdout=subprocess.DEVNULL)
        already = len(endpoint.requests)
        deadline = time.monotonic() + 30
        while process.poll() is None and len(endpoint.requests) == already and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.25))
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
    assert process.wait() == 0
    assert kills >= 3
    rows = [json.loads(row) for row in (tmp_path / "out" / "rollouts.jsonl").read_text().splitlines()]
    asked = Counter(row["messages"][0]["content"] for row in rows)
    assert asked == Counter(f"question {i}" for i in range(PROMPTS))
    (journal,) = (tmp_path / "out" / "journals").glob("*.jsonl")
    keys = [json.loads(entry)["key"] for entry in journal.read_text().splitlines()]
    assert len(keys) == len(set(keys)) == PROMPTS
