"""Read inputs on the Hugging Face hub: hf://org/name, at one commit.

The endpoint is HF_ENDPOINT if it is set, and the token is HF_TOKEN or that of `hf auth login`. Files are read in ranges
and not stored; every byte that is needed is transferred once.
"""

import hashlib
import os
import re
from typing import Any, NamedTuple

from nemotron.data_prep.sources.blend import Dataset
from nemotron.data_prep.sources.hub_subsets import choose_files, matching
from nemotron.data_prep.sources.input_file import Found, format_of, leave_out_bookkeeping, no_data_files
from nemotron.errors import UserError, explain_hub_errors, first_line

SCHEME = "hf://"
README = "README.md"


class HubPath(NamedTuple):
    """hf://[datasets/]org/name[@revision][/path]"""

    repo: str
    revision: str | None
    path: str
    """A file, a folder or a glob in the repository; empty for all of it."""

    def __str__(self) -> str:
        revision = f"@{self.revision.replace('/', '%2F')}" if self.revision else ""
        return f"{SCHEME}datasets/{self.repo}{revision}/{self.path}".rstrip("/")


def parse_hub_path(path: str) -> HubPath:
    """Parse a hub path.

    Raises:
        UserError: It is not a hub path.
    """
    found = re.fullmatch(r"hf://(?:datasets/)?([\w.-]+/[\w.-]+)(?:@([^/]+))?(?:/(.*))?", path.rstrip("/"))
    if not found:
        raise UserError(f"{path} is not a dataset on the hub.", "Write hf://org/name, or hf://org/name@revision.")
    repo, revision, inside = found.groups()
    return HubPath(repo, revision and revision.replace("%2F", "/"), inside or "")


def find_on_hub(dataset: Dataset) -> list[Found]:
    """List the files of a dataset on the hub, by its subset and split or its path.

    The revision is resolved to a commit once, so that later reads match the plan. A file is identified by the hash of
    its content, so that only the files that a new commit changed are processed again.

    Raises:
        UserError: The dataset, subset or split does not exist or may not be read, OSError when the hub cannot be
            reached.
    """
    wanted = parse_hub_path(dataset.path)
    api = _api()
    subject = f'Dataset "{dataset.name}": {wanted.repo}'
    with explain_hub_errors(subject, "dataset", wanted.repo, wanted.revision):
        commit = api.dataset_info(wanted.repo, revision=wanted.revision).sha
        tree = api.list_repo_tree(wanted.repo, recursive=True, revision=commit, repo_type="dataset")
        files = {entry.path: entry for entry in tree if hasattr(entry, "blob_id")}
    chosen = _choose(dataset, wanted, commit, files)
    return [_identify(HubPath(wanted.repo, commit, path), files[path]) for path in sorted(chosen)]


def read_range(url: str, start: int, end: int) -> bytes:
    """Return the bytes `start:end` of a file, in one request.

    Raises:
        OSError: The request failed.
    """
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status, http_backoff

    headers = {**build_hf_headers(), "range": f"bytes={start}-{end - 1}"}
    try:
        answer = http_backoff("GET", _download_url(parse_hub_path(url)), headers=headers)
        hf_raise_for_status(answer)
    except Exception as error:  # from huggingface_hub or its HTTP client; not all are OSErrors
        raise OSError(first_line(error)) from error
    # A server may ignore the range and send everything, with status 200 instead of 206.
    return answer.content if answer.status_code == 206 else answer.content[start:end]


def _choose(dataset: Dataset, wanted: HubPath, commit: str, files: dict[str, Any]) -> list[str]:
    """Choose the paths in the repository."""
    data = leave_out_bookkeeping(path for path in files if format_of(path))
    if not wanted.path:
        has_readme = README in files
        readme = _read(HubPath(wanted.repo, commit, README), files[README].size) if has_readme else ""
        return choose_files(dataset, data, readme)
    if dataset.subset or dataset.split:
        raise UserError(
            f'Dataset "{dataset.name}" has a path inside the repository and a subset or split.',
            f"Give {SCHEME}{wanted.repo} for a subset or split, or only the path.",
        )
    below = data if dataset.recursive else [path for path in data if path.count("/") <= wanted.path.count("/") + 1]
    chosen = matching(wanted.path, below)
    if chosen:
        return chosen
    if any(path.startswith(f"{wanted.path}/") for path in files):
        raise no_data_files(dataset.name, dataset.path, recursive=dataset.recursive)
    raise UserError(
        f'Dataset "{dataset.name}": {wanted.repo} has no {wanted.path} at revision {wanted.revision or "main"}.',
        f"It has {', '.join(sorted(data)[:8]) or 'no data files'}.",
    )


def _read(path: HubPath, size: int) -> str:
    return read_range(str(path), 0, size).decode(errors="replace") if size else ""


def _identify(path: HubPath, entry: Any) -> Found:
    content = entry.lfs.sha256 if entry.lfs else entry.blob_id
    digest = hashlib.blake2b(f"hub {content} {entry.size}".encode(), digest_size=16).hexdigest()
    return Found(str(path), entry.size, digest, str(path.revision))


def _endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT") or None


def _api() -> Any:
    from huggingface_hub import HfApi

    return HfApi(endpoint=_endpoint())


def _download_url(path: HubPath) -> str:
    from huggingface_hub import hf_hub_url

    return hf_hub_url(path.repo, path.path, repo_type="dataset", revision=path.revision, endpoint=_endpoint())
