"""Whether Weights & Biases is on, and whether a run could reach it from here.

Nothing of it is imported.
"""

import configparser
import netrc
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from nemotron.secrets import mask_text

SERVER = "https://api.wandb.ai"
ANSWER_SECONDS = 5.0
"""How long the server may take to answer anything at all."""
_OFFLINE = ("offline", "dryrun")


@dataclass(frozen=True)
class Target:
    """Where runs are recorded in W&B."""

    project: str
    entity: str | None = None
    """A user or a team; None: the key's own."""
    mode: str = "online"
    """`online` or `offline`: into files, for `wandb sync`."""

    def __str__(self) -> str:
        return "/".join(filter(None, [self.entity, self.project]))


def find_target(
    project: str | None = None, entity: str | None = None, environ: Mapping[str, str] = os.environ
) -> Target | None:
    """Find where to record runs; None: W&B is off.

    A project turns it on, from the config or from WANDB_PROJECT; WANDB_MODE=disabled turns it off.

    Args:
        project, entity: from the config; they win over the variables.
        environ: of the process that will record.
    """
    project = project or environ.get("WANDB_PROJECT")
    mode = environ.get("WANDB_MODE") or _setting("mode") or "online"
    if not project or mode == "disabled":
        return None
    return Target(project, entity or environ.get("WANDB_ENTITY"), "offline" if mode in _OFFLINE else "online")


def find_key(environ: Mapping[str, str] = os.environ) -> str | None:
    """Say where an API key for the server is: WANDB_API_KEY or the netrc file.

    None: there is none.
    """
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"):
        if environ.get(name):
            return name
    try:
        entry = netrc.netrc(environ.get("NETRC")).authenticators(urlsplit(server(environ)).netloc)
    except (OSError, netrc.NetrcParseError):
        entry = None
    return "the netrc file" if entry else None


def server(environ: Mapping[str, str] = os.environ) -> str:
    """Name the server that runs are sent to."""
    return (environ.get("WANDB_BASE_URL") or _setting("base_url") or SERVER).rstrip("/")


def explain_unreachable(target: Target, environ: Mapping[str, str] = os.environ) -> str | None:
    """Say why runs could not be sent from here, in half a sentence.

    None: they could, or need not be.

    Waits a few seconds for a server that does not answer.
    """
    if target.mode == "offline":
        return None
    if find_key(environ) is None:
        return "there is no API key (set WANDB_API_KEY, or run wandb login)"
    return _explain_silence(server(environ))


def describe_access(target: Target | None, *, folder: Path | str) -> list[str]:
    """Say in a line what becomes of the record in W&B when it cannot be sent.

    Nothing when it can.

    Args:
        target: where runs are recorded.
        folder: the one that will hold `wandb/`.
    """
    reason = explain_unreachable(target) if target else None
    if reason is None:
        return []
    return [f"W&B: {reason}. The run goes on; it is recorded below {folder}/wandb, and `wandb sync` uploads it later."]


def describe_access_of_job(
    environ: Mapping[str, str], project: str | None, entity: str | None, *, here: bool
) -> list[str]:
    """Say in a line, before a job is queued, why its record could not be sent to W&B.

    Nothing when it could.

    Args:
        environ: the job's variables, secret ones included.
        project, entity: of its config.
        here: whether it sees this machine's home, where `wandb login` keeps a key.
    """
    target = find_target(project, entity, environ)
    if target is None or target.mode == "offline":
        return []
    if not here and not environ.get("WANDB_API_KEY"):
        reason, otherwise = "no API key goes with the job (set WANDB_API_KEY)", "Unless it finds one there, it"
    else:
        reason, otherwise = explain_unreachable(target, environ), "Unless that changes, the job"
    if reason is None:
        return []
    return [f"W&B: {reason}. {otherwise} is recorded offline in its output folder, for `wandb sync`."]


def _explain_silence(address: str) -> str | None:
    try:
        with urllib.request.urlopen(f"{address}/healthz", timeout=ANSWER_SECONDS):
            return None
    except urllib.error.HTTPError:  # an answer
        return None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLError):  # another client may know the certificate
            return None
        return f"{mask_text(address)} does not answer ({reason})"


def _setting(name: str) -> str | None:
    """Read a setting that `wandb login --host` or `wandb offline` has stored.

    Of the folder, else of the user.
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
