"""`client.py SOCKET PYTHON LINE...`: have the server behind the socket do what `PYTHON LINE...` does."""

import json
import os
import signal
import socket
import sys
import time

PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def main(address: str, python: str, line: list[str]) -> None:
    """Pass on files and signals, and end as what was asked for ends."""
    if line[:1] == ["-u"]:
        line = line[1:]
        os.environ["PYTHONUNBUFFERED"] = "1"
    if not line or (line[0].startswith("-") and line[0] != "-m"):
        os.execv(python, [python, *line])
    ignored = [signum for signum in PASSED_ON if signal.getsignal(signum) is signal.SIG_IGN]
    request = {"line": line, "folder": os.getcwd(), "environment": dict(os.environ), "ignored": ignored}
    server = connect(address)
    socket.send_fds(server, [json.dumps(request).encode()], [0, 1, 2])
    process = int(receive(server))
    for signum in PASSED_ON:
        signal.signal(signum, lambda signum, frame: os.kill(process, signum))
    code = os.waitstatus_to_exitcode(int(receive(server)))
    if code < 0:
        signal.signal(-code, signal.SIG_DFL) if -code != signal.SIGKILL else None
        os.kill(os.getpid(), -code)
    os._exit(code)


def connect(address: str) -> socket.socket:
    """Connect to the server; one that has just been started is waited for."""
    deadline = time.monotonic() + 600
    while True:
        server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            server.connect(address)
        except OSError:
            server.close()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return server


def receive(server: socket.socket) -> bytes:
    """Receive a number."""
    received = server.recv(32)
    if not received:
        sys.exit("the process that has imported Megatron is gone")
    return received


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
