"""Find out whether Weights & Biases is on, and whether a run can reach it.

wandb itself is not imported.
"""

import configparser
import netrc
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from nemotron.secrets import mask_text

SERVER = "https://api.wandb.ai"
ANSWER_SECONDS = 5.0
"""How long to wait for any answer from the server."""
_OFFLINE = ("offline", "dryrun")


@dataclass(frozen=True)
class Target:
    """Where runs are recorded in W&B."""

    project: str
    entity: str | None = None
    """A user or a team; None means the owner of the key."""
    mode: str = "online"
    """`online`, or `offline` to write files for `wandb sync`."""
    unreachable: str | None = None
    """Why runs cannot be sent from here, as half a sentence; they are then recorded offline. None means that they can
    be sent, or that the server has not been asked (`ask_server`)."""

    def __str__(self) -> str:
        return "/".join(filter(None, [self.entity, self.project]))


def find_target(
    project: str | None = None, entity: str | None = None, environ: Mapping[str, str] = os.environ
) -> Target | None:
    """Return where runs are recorded, or None if W&B is off.

    A project in the config or in WANDB_PROJECT turns it on; WANDB_MODE=disabled turns it off.

    Args:
        project, entity: From the config; they take precedence over the variables.
        environ: Environment of the process that will record.
    """
    project = project or environ.get("WANDB_PROJECT")
    mode = environ.get("WANDB_MODE") or _setting("mode") or "online"
    if not project or mode == "disabled":
        return None
    return Target(project, entity or environ.get("WANDB_ENTITY"), "offline" if mode in _OFFLINE else "online")


def find_key(environ: Mapping[str, str] = os.environ) -> str | None:
    """Return where an API key for the server is, or None.

    It is in WANDB_API_KEY or the netrc file.
    """
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"):
        if environ.get(name):
            return name
    try:
        entry = netrc.netrc(environ.get("NETRC")).authenticators(urlsplit(find_server(environ)).netloc)
    except (OSError, netrc.NetrcParseError):
        entry = None
    return "the netrc file" if entry else None


def find_server(environ: Mapping[str, str] = os.environ) -> str:
    """Return the address of the server that runs are sent to."""
    return (environ.get("WANDB_BASE_URL") or _setting("base_url") or SERVER).rstrip("/")


def explain_unreachable(target: Target, environ: Mapping[str, str] = os.environ) -> str | None:
    """Explain in half a sentence why runs cannot be sent from here.

    None means that they can be, or need not be. Waits a few seconds for a server that does not answer.
    """
    if target.mode == "offline":
        return None
    if find_key(environ) is None:
        return "there is no API key (set WANDB_API_KEY, or run wandb login)"
    return _explain_silence(find_server(environ))


def ask_server(target: Target, environ: Mapping[str, str] = os.environ) -> Target:
    """Return a target that knows whether runs can be sent from here.

    Waits a few seconds for a server that does not answer, so a process asks once.
    """
    return replace(target, unreachable=explain_unreachable(target, environ))


def describe_access_of_job(
    environ: Mapping[str, str], project: str | None, entity: str | None, *, shares_home: bool
) -> list[str]:
    """Explain, before a job is queued, why it cannot send its record; [] if it can.

    Args:
        environ: The job's variables, including secret ones.
        project, entity: From the job's config.
        shares_home: Whether the job sees this machine's home, where `wandb login` keeps a key.
    """
    target = find_target(project, entity, environ)
    if target is None or target.mode == "offline":
        return []
    if not shares_home and not environ.get("WANDB_API_KEY"):
        reason, otherwise = "no API key is passed to the job (set WANDB_API_KEY)", "Unless it finds one there, the job"
    else:
        reason, otherwise = explain_unreachable(target, environ), "Unless that changes, the job"
    if reason is None:
        return []
    return [f"W&B: {reason}. {otherwise} is recorded offline in its output folder, for `wandb sync`."]


def _explain_silence(address: str) -> str | None:
    import ssl  # here: most runs ask no server, and these three take 20 ms
    import urllib.error
    import urllib.request

    try:
        with urllib.request.urlopen(f"{address}/healthz", timeout=ANSWER_SECONDS):
            return None
    except urllib.error.HTTPError:  # this is an answer too
        return None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLError):  # another client may trust the certificate
            return None
        return f"{mask_text(address)} does not answer ({reason})"


def _setting(name: str) -> str | None:
    """Read a setting that `wandb login --host` or `wandb offline` has stored.

    The folder's setting comes before the user's.
    """
    folder = Path(os.environ.get("WANDB_CONFIG_DIR") or "~/.config/wandb").expanduser()
    for path in (Path("wandb/settings"), folder / "settings"):
        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read(path)
            if value := parser.get("default", name, fallback=None):
                return value
        except (OSError, configparser.Error):
            pass
    return None
