"""Run commands on the machine with a cluster's sbatch: this one, or through ssh."""

import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from nemotron.errors import UserError
from nemotron.launch.profiles.profile import Profile


class LaunchError(UserError):
    """The cluster refused a job, lost a job, or cannot be reached."""


@dataclass(frozen=True)
class Answer:
    """The output and exit code of a command."""

    stdout: str
    stderr: str
    code: int

    @property
    def ok(self) -> bool:
        return self.code == 0


class Shell:
    """Runs commands on the machine with the profile's sbatch.

    `run` has the interface of NeMo-Run's tunnels.
    """

    def __init__(self, profile: Profile) -> None:
        self._prefix = ssh_command(profile) if profile.tunnel == "ssh" else ["bash", "-c"]

    def run(self, command: str, **_: object) -> Answer:
        """Run a shell command without input; a failure is reported in the answer."""
        done = subprocess.run(
            [*self._prefix, command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        return Answer(done.stdout, done.stderr, done.returncode)


def ssh_command(profile: Profile) -> list[str]:
    """Return the ssh command without its remote part: no prompts, only known hosts."""
    options = ["-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "ConnectTimeout=20"]
    if profile.port:
        options += ["-p", str(profile.port)]
    if profile.identity:
        options += ["-i", profile.identity]
    return ["ssh", *options, f"{profile.user}@{profile.host}"]


def check_host(profile: Profile, pythons: Sequence[str] = ()) -> None:
    """Refuse a host with an unknown key or missing tools, before anything is sent.

    Args:
        profile: A profile with tunnel = "ssh".
        pythons: Interpreters that must exist on the host, without those of containers.

    Raises:
        LaunchError: The key is unknown or has changed, or rsync, sbatch or the interpreter is missing on either side.
    """
    address = f"{profile.user}@{profile.host}"
    for tool in ("ssh", "rsync"):
        if shutil.which(tool) is None:
            raise LaunchError(
                f"{tool}, which sends jobs to {address}, is not installed on this machine.", f"Install {tool}."
            )
    asked = " ".join(["rsync", "sbatch", *map(shlex.quote, pythons)])
    found = Shell(profile).run(f'for tool in {asked}; do command -v "$tool" >/dev/null || echo "missing $tool"; done')
    if not found.ok:
        _explain(found.stderr, address, profile)
    missing = [line.removeprefix("missing ") for line in found.stdout.splitlines() if line.startswith("missing ")]
    if absent := [python for python in pythons if python in missing]:
        raise LaunchError(
            f"The interpreter {absent[0]} does not exist on {address}.",
            f"Set python of profile {profile.name} to one that has this project's packages, or a container_image.",
        )
    if missing:
        raise LaunchError(
            f"{' and '.join(missing)} cannot be found on {address}.", "Install it there, or name a login node as host."
        )


def _explain(words: str, address: str, profile: Profile) -> None:
    """Refuse a wrong host key; NeMo-Run, which may ask for a password, does the rest."""
    port = f"-p {profile.port} " if profile.port else ""
    if "IDENTIFICATION HAS CHANGED" in words:
        raise LaunchError(
            f"The host key of {address} is not the one in known_hosts. Nothing was sent.",
            f"Find out why. If the key was changed on purpose: ssh-keygen -R {profile.host}, then ssh {port}{address}",
        )
    if "host key is known" in words or "Host key verification failed" in words:
        raise LaunchError(
            f"The host key of {address} is not in known_hosts. Nothing was sent.",
            f"Connect once by hand and compare the key: ssh {port}{address}",
        )
