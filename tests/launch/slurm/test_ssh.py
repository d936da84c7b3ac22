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

from nemotron.launch import LaunchError, Stage, follow, load_profile, place, submit
from nemotron.launch.stages import TRAIN_SCRIPT

SFT = Stage("sft", TRAIN_SCRIPT, {}, "tiny", distributed=True)
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


@pytest.fixture
def known(server, work: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The known_hosts that ssh reads, with the server's key in it."""
    port, key = server
    hosts = work / "known_hosts"
    algorithm, public, *_ = (key.parent / "host.pub").read_text().split()
    hosts.write_text(f"[127.0.0.1]:{port} {algorithm} {public}\n")
    (work / "bin").mkdir()
    wrapper = work / "bin" / "ssh"
    wrapper.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -o UserKnownHostsFile={hosts} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{wrapper.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("HF_TOKEN", "s3cret")
    return hosts


@pytest.fixture
def far(profile, server, work: Path):
    """far('exit 4') is a profile over ssh whose training runs this; further arguments are lines of its table."""
    port, key = server

    def make(body: str, *lines: str):
        over_ssh = ['tunnel = "ssh"', 'host = "127.0.0.1"', f"port = {port}", f'user = "{getpass.getuser()}"']
        return profile({"sft": body}, *over_ssh, f'identity = "{key}"', f'remote_job_dir = "{work}/far"', *lines)

    return make


def test_a_job_is_sent_run_and_followed_over_ssh(far, known: Path, work: Path):
    submission = submit(place([SFT], far('echo "in $PWD with ${#HF_TOKEN}"; exit 4'), attached=True))
    output: list[str] = []
    assert follow(submission, on_output=output.append, interval=0.2) == 4
    assert output == [f"in {work}/far with 6\n"]
    assert submission.jobs[0].folder.startswith(f"{work}/far/super3-sft/")
    assert not (work / "output").exists()


def test_nothing_is_sent_to_a_host_with_another_key_or_an_unknown_one(far, known: Path, work: Path):
    known.write_text("")
    with pytest.raises(LaunchError, match="known_hosts"):
        submit(place([SFT], far("true"), attached=True))
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(work / "other")], check=True)
    address = f"[127.0.0.1]:{far('true').port}"
    known.write_text(f"{address} {(work / 'other.pub').read_text()}")
    with pytest.raises(LaunchError, match="known_hosts"):
        submit(place([SFT], far("true"), attached=True))
    assert not (work / "far").exists()


def test_a_missing_interpreter_is_named(far, known: Path, work: Path):
    far("true", 'python = "/nowhere/python"')
    (work / "env.toml").write_text((work / "env.toml").read_text().rpartition("[here.sft]")[0])
    with pytest.raises(LaunchError, match="/nowhere/python"):
        submit(place([SFT], load_profile("here"), attached=True))
    assert not (work / "far").exists()
