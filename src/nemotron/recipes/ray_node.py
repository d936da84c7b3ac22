"""Run a node of a job's Ray cluster: python ray_node.py COMMAND [ARGUMENT ...]

Every node of the job runs this script. The first node is the head: once the cluster answers it runs COMMAND, and it
exits with COMMAND's exit code. The other nodes offer their cores until the head is gone.

The script reads SLURM_NODEID, MASTER_PORT (the head's port) and RAY_CLUSTER_DIR from the environment. All nodes see
that folder; the head writes its address there, and a token (mode 0600) that opens the cluster to this job only.
"""

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from nemotron.files.atomic_files import PRIVATE, write_text

START_SECONDS = 300
"""How long the nodes wait for the head, and the head waits for its own services."""
POLL_SECONDS = 1.0


def main(command: list[str]) -> int:
    """Run this node, and return the exit code of its process."""
    folder = Path(os.environ["RAY_CLUSTER_DIR"])
    os.environ |= {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(folder / "ray_token"),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    if int(os.environ.get("SLURM_NODEID", "0")) == 0:
        return _head(folder, int(os.environ["MASTER_PORT"]), command)
    return _worker(folder)


def _head(folder: Path, port: int, command: list[str]) -> int:
    import ray.util

    _write(folder / "ray_token", secrets.token_hex(32))
    host = ray.util.get_node_ip_address()
    address = f"{host}:{port}"
    with _ray_start("--head", f"--port={port}", f"--node-ip-address={host}", "--include-dashboard=false") as services:
        if not _wait(lambda: _answers(address) or services.poll() is not None) or services.poll() is not None:
            print(f"The head of the Ray cluster did not start at {address}; see its output above.", file=sys.stderr)
            return 1
        # The address is written to a file, because a node's own name may resolve to 127.0.0.1.
        _write(folder / "ray_address", address)
        stage = subprocess.Popen(command, env={**os.environ, "RAY_ADDRESS": address})
        # The stage handles signals itself; this process only waits for it.
        signal.signal(signal.SIGTERM, lambda signum, frame: stage.send_signal(signum))
        return _exit_code(stage.wait())


def _worker(folder: Path) -> int:
    """Join the cluster until its head is gone.

    The head reports whether the job succeeded.
    """
    if not _wait(lambda: _answers(_read(folder / "ray_address"))):
        print(f"No head of the Ray cluster answered in {START_SECONDS} s.", file=sys.stderr)
        return 1
    address = _read(folder / "ray_address")
    with _ray_start(f"--address={address}") as services:
        while services.poll() is None and _answers(address):
            time.sleep(POLL_SECONDS)
        failed = services.poll() not in (None, 0) and _answers(address)
    return 1 if failed else 0


@contextlib.contextmanager
def _ray_start(*options: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start this node's Ray services and stop them; `ray stop` would stop others too."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", *options, f"--num-cpus={count_cores()}"]
    # Our tokens never pass through Ray's object store.
    command += ["--object-store-memory=268435456", "--block"]
    services = subprocess.Popen(command, stdout=sys.stderr, start_new_session=True)
    try:
        yield services
    finally:
        services.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            services.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(services.pid, signal.SIGKILL)


def count_cores() -> int:
    """Count the cores that Slurm gave the job on this node, or all usable ones."""
    allowed = len(os.sched_getaffinity(0))
    return min(allowed, int(os.environ.get("SLURM_CPUS_ON_NODE", allowed)))


def _write(path: Path, content: str) -> None:
    """Replace a file atomically: a job that Slurm restarts forms a new cluster."""
    path.unlink(missing_ok=True)
    write_text(path, content, mode=PRIVATE)


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=5):
            return True
    except (OSError, ValueError):
        return False


def _wait(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def _exit_code(returned: int) -> int:
    """Convert to a shell's exit code, which is 128 + the signal that ended a process."""
    return returned if returned >= 0 else 128 - returned


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
