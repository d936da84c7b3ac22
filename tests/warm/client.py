"""`client.py SOCKET LINE...`: have the server behind the socket do what `python LINE...` does."""

import json
import os
import signal
import socket
import sys
import time

PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def main(address: str, line: list[str]) -> None:
    """Pass on files and signals, and end as what was asked for ends."""
    request = {"line": line, "folder": os.getcwd(), "environment": dict(os.environ)}
    server = connect(address)
    socket.send_fds(server, [json.dumps(request).encode()], [0, 1, 2])
    process = int(receive(server))
    for signum in PASSED_ON:
        signal.signal(signum, lambda signum, frame: os.kill(process, signum))
    code = os.waitstatus_to_exitcode(int(receive(server)))
    if code < 0:
        if -code in PASSED_ON:
            signal.signal(-code, signal.SIG_DFL)
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
    main(sys.argv[1], sys.argv[2:])
