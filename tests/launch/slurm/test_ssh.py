"""The same through a real ssh server, started here for the test."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nemotron.launch import Stage, follow, place, submit
from nemotron.launch.stages import TRAIN_SCRIPT

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")

pytestmark = pytest.mark.skipif(not (SSHD and shutil.which("rsync")), reason="needs sshd and rsync")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """Port of an ssh server on loopback that takes one key, and the key."""
    folder = tmp_path / "ssh"
    folder.mkdir(mode=0o700)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile none\nStrictModes no\n"
        f"AuthorizedKeysFile {folder}/user.pub\nPermitRootLogin yes\nSubsystem sftp internal-sftp\n"
        f"SetEnv SLURM_CONF={os.environ.get('SLURM_CONF', '/etc/slurm/slurm.conf')}\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd insists on it when root starts it
    process = subprocess.Popen([str(SSHD), "-D", "-f", str(folder / "config")], stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield port, folder / "user"
    finally:
        process.terminate()
        process.wait()


def test_a_job_is_sent_run_and_followed_over_ssh(profile, server, work: Path, monkeypatch: pytest.MonkeyPatch):
    port, key = server
    monkeypatch.setenv("HF_TOKEN", "s3cret")
    # rsync runs the ssh command, which would ask about a host it does not know.
    (work / "ssh_as_known").mkdir()
    wrapper = work / "ssh_as_known" / "ssh"
    options = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
    wrapper.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} {options} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{wrapper.parent}:{os.environ['PATH']}")
    here = profile(
        {"sft": 'echo "in $PWD with ${#HF_TOKEN}"; exit 4'},
        'tunnel = "ssh"',
        'host = "127.0.0.1"',
        f"port = {port}",
        f'user = "{getpass.getuser()}"',
        f'identity = "{key}"',
        f'remote_job_dir = "{work}/far"',
    )
    submission = submit(place([Stage("sft", TRAIN_SCRIPT, {}, "tiny", distributed=True)], here, attached=True))
    output: list[str] = []
    assert follow(submission, on_output=output.append, interval=0.2) == 4
    assert output == [f"in {work}/far with 6\n"]
    assert submission.jobs[0].folder.startswith(f"{work}/far/super3-sft/")
    assert not (work / "output").exists()
