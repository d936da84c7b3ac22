"""Read inputs on object stores through fsspec: s3:// (s3fs) and gs:// (gcsfs).

These libraries read credentials, endpoint and region from: AWS_ACCESS_KEY_ID, AWS_PROFILE,
AWS_ENDPOINT_URL, GOOGLE_APPLICATION_CREDENTIALS, or FSSPEC_S3_... for any argument of s3fs.
"""

import contextlib
import hashlib
from collections.abc import Iterator
from typing import Any

from nemotron.data_prep.sources.blend import Dataset
from nemotron.data_prep.sources.input_file import Found, format_of, leave_out_bookkeeping, list_suffixes, no_data_files
from nemotron.errors import UserError, did_you_mean

LIBRARIES = {"s3": ("s3fs", "s3"), "gs": ("gcsfs", "gcs")}
"""The fsspec library of each scheme, and the extra that installs it."""
CREDENTIALS = {
    "s3": "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE to a profile of ~/.aws/config; for a public "
    "bucket FSSPEC_S3_ANON=true.",
    "gs": "Set GOOGLE_APPLICATION_CREDENTIALS to a key file, or run gcloud auth application-default login.",
}
"""What to do for each scheme if the store refuses access."""
REFUSALS = frozenset({
    "PermissionError", "NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "ProfileNotFound",
    "TokenRetrievalError", "SSOTokenLoadError", "UnauthorizedSSOTokenError", "DefaultCredentialsError", "RefreshError",
})  # fmt: skip
"""Exceptions that mean refused access: Python's, botocore's, google-auth's. By name, because libraries may be
missing."""
SCHEMES = tuple(f"{scheme}://" for scheme in LIBRARIES)


def find_objects(dataset: Dataset) -> list[Found]:
    """List the objects of a dataset: one, those below a prefix, or those of a glob.

    They are identified by what the store reports (URL, ETag or generation, size); nothing is downloaded.

    Raises:
        UserError: There are none, the library is missing or credentials are, OSError when the store fails.
    """
    scheme, _, path = dataset.path.partition("://")
    path = path.rstrip("/")
    store = _store(scheme)
    with _store_errors(dataset.path):
        store.invalidate_cache()
        if any(character in path for character in "*?["):
            listed = store.glob(path, detail=True)
        elif store.exists(path):
            listed = store.find(path, maxdepth=None if dataset.recursive else 1, detail=True)
        else:
            listed = {}
    names = leave_out_bookkeeping(name for name, info in listed.items() if info["type"] == "file" and format_of(name))
    objects = {name: listed[name] for name in names}
    if not objects:
        raise _nothing_found(dataset, store, path, listed)
    return [_identify(f"{scheme}://{name}", info) for name, info in sorted(objects.items())]


def version(url: str) -> str:
    """Return the store's current version of an object, which changes with every write."""
    scheme, _, path = url.partition("://")
    store = _store(scheme)
    with _store_errors(url):
        store.invalidate_cache(store._parent(path))
        return _version(store.info(path))


def read_range(url: str, start: int, end: int) -> bytes:
    """Return the bytes `start:end` of an object, in one request."""
    scheme, _, path = url.partition("://")
    with _store_errors(url):
        return _store(scheme).cat_file(path, start=start, end=end)


def _identify(url: str, info: dict[str, Any]) -> Found:
    version = _version(info)
    digest = hashlib.blake2b(f"{url} {version}".encode(), digest_size=16).hexdigest()
    return Found(url, info["size"], digest, version)


def _version(info: dict[str, Any]) -> str:
    named = {name: info[name] for name in ("ETag", "etag", "generation") if info.get(name)}
    if not named:
        raise OSError("the store has neither an ETag nor a generation, so changes could not be detected")
    return f"{info['size']} {sorted(named.items())}"


def _store(scheme: str) -> Any:
    import fsspec

    library, extra = LIBRARIES[scheme]
    try:
        return fsspec.filesystem(scheme)
    except ImportError:
        raise UserError(
            f"Reading {scheme}:// paths needs the package {library}, which is not installed.",
            f"Install it: uv sync --extra {extra}",
        ) from None


@contextlib.contextmanager
def _store_errors(url: str) -> Iterator[None]:
    """Turn the exceptions of a store's library into ours; not all are OSErrors."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        if not _is_refusal(error):
            raise OSError(reason) from error
        raise UserError(f"Cannot read {url}: {reason.rstrip('.')}.", CREDENTIALS[url.partition("://")[0]]) from error


def _is_refusal(error: Exception) -> bool:
    """Tell whether the store refused access; gcsfs reports it as a status or in words."""
    names = {kind.__name__ for kind in type(error).__mro__}
    status = str(getattr(error, "code", ""))
    return not REFUSALS.isdisjoint(names) or status in ("401", "403") or str(error).startswith("Forbidden")


def _nothing_found(dataset: Dataset, store: Any, path: str, listed: dict[str, Any]) -> UserError:
    if list(listed) == [path]:
        known = f"Files can be {list_suffixes()}."
        return UserError(f'Dataset "{dataset.name}": {dataset.path} is not of a known format.', known)
    if listed:
        return no_data_files(dataset.name, dataset.path, recursive=dataset.recursive)
    siblings = []
    with contextlib.suppress(Exception):  # only for the hint
        siblings = [str(name) for name in store.ls(store._parent(path), detail=False)]
    return UserError(
        f'Dataset "{dataset.name}": {dataset.path} does not exist.',
        did_you_mean(path, siblings) or "Check the bucket and the path, and which credentials are in use.",
    )
