"""`python -m tests.warm.server PROGRAM`: import Megatron, then become what each client asks for, in a fork.

It listens beside PROGRAM, and ends when its standard input does.
"""

import contextlib
import gc
import importlib
import json
import logging
import os
import runpy
import select
import shutil
import signal
import socket
import sys
from pathlib import Path
from typing import Any

REQUEST_BYTES = 1 << 20


def import_megatron() -> None:
    """Import what training does, and keep it out of every garbage collection."""
    from nemotron.training import cpu
    from nemotron.training.backend import importable

    logging.disable(logging.INFO)
    with importable("cpu" if cpu.is_needed() else "torch"):
        importlib.import_module("megatron.bridge.training.finetune")
    logging.disable(logging.NOTSET)
    gc.freeze()


def serve(listening: socket.socket) -> dict[str, Any]:
    """Fork for each client, until standard input ends; return, in a fork, what it is asked for."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that wait for a fork
    while True:
        ready, *_ = select.select([listening, sys.stdin], [], [])
        if sys.stdin in ready:
            shutil.rmtree(Path(listening.getsockname()).parent)
            os._exit(0)
        client, _ = listening.accept()
        if os.fork() == 0:
            break
        client.close()
    listening.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    request, files, *_ = socket.recv_fds(client, REQUEST_BYTES, 3)
    if fork := os.fork():
        follow(fork, client)
    os.setsid()
    with client:
        client.send(str(os.getpid()).encode())
    for stream, file in enumerate(files):
        os.dup2(file, stream)
        os.close(file)
    return json.loads(request)


def follow(fork: int, client: socket.socket) -> None:
    """Tell the client how the fork ends; a client that is killed takes the fork with it."""
    ready, *_ = select.select([os.pidfd_open(fork), client], [], [])
    if client in ready:
        os.kill(fork, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(fork, signal.SIGKILL)
    _, status = os.waitpid(fork, 0)
    with contextlib.suppress(BrokenPipeError):
        client.send(str(status).encode())
    os._exit(0)


def become(line: list[str], folder: str, environment: dict[str, str]) -> None:
    """Do what `python LINE` does."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    if line[0] == "-m":
        sys.path[0] = folder
        sys.argv[1:] = line[2:]
        runpy.run_module(line[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv[:] = line
        sys.path[0] = str(Path(line[0]).resolve().parent)
        runpy.run_path(line[0], run_name="__main__")


if __name__ == "__main__":
    address = str(Path(sys.argv[1]).with_name("socket"))
    import_megatron()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(address)
        listening.listen(64)
        asked = serve(listening)
    become(**asked)
