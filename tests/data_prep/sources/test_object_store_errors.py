"""What an object store's failures mean, without a store: test_object_store.py has one."""

import importlib
import sys

import fsspec
import pytest

from nemotron.data_prep.sources.object_store import _store, _store_errors, _version
from nemotron.errors import UserError


class Status(Exception):
    """An answer of the store, with a code."""

    def __init__(self, code):
        super().__init__("no.")
        self.code = code


class NoCredentialsError(Exception):
    """Of botocore, which may not be installed."""


class Expired(NoCredentialsError):
    """A kind of it."""


@pytest.mark.parametrize(
    "error",
    [
        PermissionError("no."),
        NoCredentialsError("no."),
        Expired("no."),
        Status(401),
        Status("403"),
        OSError("Forbidden: no."),
    ],
)
@pytest.mark.parametrize(("url", "hint"), [("s3://bucket/key", "AWS_PROFILE"), ("gs://bucket/key", "gcloud auth")])
def test_refused_access_says_how_to_get_it(error, url, hint):
    with (
        pytest.raises(UserError, match=f"^Cannot read {url}: {type(error).__name__}: .*no\\. ") as caught,
        _store_errors(url),
    ):
        raise error
    assert hint in str(caught.value.hint)


@pytest.mark.parametrize("error", [FileNotFoundError("no."), Status(404), TimeoutError(), ValueError("Not Forbidden")])
def test_any_other_failure_is_one_of_reading(error):
    with pytest.raises(OSError, match=type(error).__name__), _store_errors("s3://bucket/key"):
        raise error


def test_a_users_mistake_stays_what_it_is():
    with pytest.raises(UserError, match="Not this"), _store_errors("s3://bucket/key"):
        raise UserError("Not this.", "That.")


@pytest.mark.parametrize(("scheme", "library", "extra"), [("s3", "s3fs", "s3"), ("gs", "gcsfs", "gcs")])
def test_a_library_that_is_not_installed_is_named_with_its_extra(monkeypatch, scheme, library, extra):
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.setattr(fsspec, "filesystem", lambda name: importlib.import_module(library))
    with pytest.raises(UserError, match=rf"{scheme}:// .*{library}.*--extra {extra}"):
        _store(scheme)


def test_an_object_is_told_from_its_next_version_by_whatever_the_store_says():
    assert _version({"size": 3, "ETag": "a", "generation": None}) == "3 [('ETag', 'a')]"
    versions = [
        {"size": 3, "ETag": "a"},
        {"size": 4, "ETag": "a"},
        {"size": 3, "etag": "b"},
        {"size": 3, "generation": 7},
    ]
    assert len({_version(info) for info in versions}) == 4
    with pytest.raises(OSError, match="neither an ETag nor a generation"):
        _version({"size": 3, "ETag": ""})


REFUSALS = (
    *("PermissionError", "NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"),
    *("ProfileNotFound", "TokenRetrievalError", "SSOTokenLoadError", "UnauthorizedSSOTokenError"),
    *("DefaultCredentialsError", "RefreshError"),
)


@pytest.mark.parametrize("name", REFUSALS)
def test_every_library_has_its_own_words_for_refused_access(name):
    with pytest.raises(UserError, match=name), _store_errors("s3://bucket/key"):
        raise type(name, (Exception,), {})("no")
