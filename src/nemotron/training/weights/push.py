"""Push an exported folder to the Hugging Face hub.

It is one commit, so that nobody downloads an incomplete model.
"""

import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nemotron.errors import UserError
from nemotron.lineage.artifact import MANIFEST

TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
"""The variables that may have a token, which is read from nowhere else and never prompted for."""
_REFUSED = (401, 403)


@dataclass(frozen=True)
class Destination:
    """The repository on the hub for an export."""

    repo: str
    """`org/name`."""
    private: bool = False
    """Whether the repository must be private. A new one is created as such."""
    revision: str | None = None
    """A branch, which is created if necessary; None is main."""

    def command(self, folder: Path) -> str:
        """Return the command that uploads a folder there without nemotron."""
        options = [*(["--private"] if self.private else []), *(["--revision", self.revision] if self.revision else [])]
        return shlex.join(["hf", "upload", self.repo, str(folder), "--exclude", MANIFEST, *options])


def check_destination(to: Destination) -> None:
    """Refuse a push that would fail, before an export that may take hours.

    Raises:
        UserError: The name is not valid, there is no token, the token may only read or is refused, the hub cannot be
            reached, or the repository is public but must be private.
    """
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(to.repo)
    except HFValidationError:
        is_name = False
    else:
        is_name = to.repo.count("/") == 1
    if not is_name:
        raise UserError(f"--push {to.repo} is no name on the hub.", "Write ORG/NAME, such as my-team/super-sft.")
    if _token(os.environ) is None:
        raise UserError(
            f"Pushing to {to.repo} needs a token, and {TOKENS[0]} is not set.",
            f"Make one that may write at https://huggingface.co/settings/tokens, and set {TOKENS[0]}.",
        )
    api = _api()
    try:
        who: Any = api.whoami()
    except HfHubHTTPError as error:
        who = None  # a server that does not say decides at the upload
        if _status(error) in _REFUSED:
            raise UserError(
                f"The hub refuses the token of {TOKENS[0]}.", "Make another one, which may write."
            ) from None
    except Exception as error:  # of its HTTP client
        raise UserError(
            f"The hub is out of reach at {_endpoint() or 'https://huggingface.co'}: {_first_line(error)}.",
            "Check the network and HF_ENDPOINT, or leave --push out and upload the export later: hf upload",
        ) from None
    if not _may_write(who, to.repo):
        raise UserError(
            f"The token of {TOKENS[0]} may not write to {to.repo}.",
            "Make one that may at https://huggingface.co/settings/tokens, or name another repository.",
        )
    _refuse_public(api, to)


def push(folder: Path, to: Destination) -> str:
    """Upload an exported folder unchanged, in one commit.

    The record of its artifact is left out, because it names folders and jobs of this machine.

    Returns:
        The address of the commit.

    Raises:
        UserError: It failed; the repository is as it was, also after Ctrl-C.
    """
    from huggingface_hub.utils import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()
    api = _api()
    try:
        api.create_repo(to.repo, private=to.private or None, exist_ok=True)
        _refuse_public(api, to)
        if to.revision is not None:
            api.create_branch(to.repo, branch=to.revision, exist_ok=True)
        made = api.upload_folder(
            repo_id=to.repo,
            folder_path=folder,
            ignore_patterns=[MANIFEST],
            revision=to.revision,
            commit_message=f"Upload {folder.parent.name}/{folder.name} with nemotron",
        )
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"The upload to {to.repo} failed: {_first_line(error)}. The export in {folder} is whole.",
            f"{_advice(error)}Upload it by itself; what arrived is not sent again: {to.command(folder)}",
        ) from None
    return made.commit_url


def _may_write(who: Any, repo: str) -> bool:
    """Tell whether a token may write to a repository, according to the hub.

    The hub describes a token in `auth.accessToken` of whoami: its role, and for a fine-grained token its permissions on
    users, organizations and repositories. If another server does not describe it, the upload decides.
    """
    try:
        token = who["auth"]["accessToken"]
        if token["role"] != "fineGrained":
            return token["role"] != "read"
        names = {repo, repo.partition("/")[0]}
        scopes = [scope["permissions"] for scope in token["fineGrained"]["scoped"] if scope["entity"]["name"] in names]
        return any("write" in permission for permissions in scopes for permission in permissions)
    except (KeyError, TypeError, AttributeError):
        return True


def _refuse_public(api: Any, to: Destination) -> None:
    """Refuse a public repository for an export that must be private.

    Raises:
        UserError: The repository is public.
    """
    if not to.private:
        return
    try:
        is_public = api.repo_info(to.repo).private is False
    except Exception:  # it does not exist yet, or is unknown; it is created as private later
        return
    if is_public:
        raise UserError(
            f"{to.repo} is public, and --private was asked for.", "Name another repository, or change its settings."
        )


def _advice(error: BaseException) -> str:
    if _status(error) in _REFUSED:
        return f"Use a token that may write there ({TOKENS[0]}). "
    return ""


def _status(error: BaseException) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


def _token(variables: Mapping[str, str]) -> str | None:
    return next((variables[name] for name in TOKENS if variables.get(name)), None)


def _endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT") or None


def _api() -> Any:
    from huggingface_hub import HfApi, constants

    if _endpoint() is not None and "HF_HUB_DISABLE_XET" not in os.environ:
        constants.HF_HUB_DISABLE_XET = True  # servers other than the hub mostly have plain LFS alone
    return HfApi(endpoint=_endpoint(), token=_token(os.environ), library_name="nemotron")


def _first_line(error: BaseException) -> str:
    reason = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ is not None else error
    text = str(reason).strip() or type(reason).__name__
    return text.splitlines()[0].rstrip(".:")
