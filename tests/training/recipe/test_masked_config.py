"""Secrets reach the process that trains, and nothing that is written, on a stand-in for Megatron-Bridge's config."""

import os
from types import SimpleNamespace

import pytest

from nemotron.training import bridge
from nemotron.training.recipe.masked_config import keep_secrets_out


@pytest.fixture
def container(monkeypatch):
    """A ConfigContainer of a class of this test's own, whose class is changed."""

    class Container:
        env_vars: dict

        def to_dict(self):
            return {"env_vars": self.env_vars, "logger": {"uri": "https://user:hidden123@host", "name": "chat"}}

    def set_environment(made, variables):
        made.env_vars = dict(variables)

    monkeypatch.setattr(bridge, "installed", lambda: SimpleNamespace(set_environment=set_environment))
    for name in ("MY_TOKEN", "MIRROR", "NCCL_DEBUG"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return Container()


def test_secret_variables_are_set_here_and_the_others_by_megatron_bridge(container):
    keep_secrets_out(
        container, {"MY_TOKEN": "planted123", "MIRROR": "https://me:planted456@pypi", "NCCL_DEBUG": "INFO"}
    )
    assert (os.environ["MY_TOKEN"], os.environ["MIRROR"]) == ("planted123", "https://me:planted456@pypi")
    assert container.env_vars == {"NCCL_DEBUG": "INFO"}
    assert "NCCL_DEBUG" not in os.environ


def test_a_variable_that_is_set_already_stays(container, monkeypatch):
    monkeypatch.setenv("MY_TOKEN", "of the job")
    keep_secrets_out(container, {"MY_TOKEN": "of the config"})
    assert os.environ["MY_TOKEN"] == "of the job"


def test_what_is_written_is_masked_however_often_a_config_is_built(container):
    for _ in range(2):
        keep_secrets_out(container, {})
    assert container.to_dict()["logger"] == {"uri": "https://***@host", "name": "chat"}
    assert not hasattr(type(container).to_dict.__wrapped__, "__wrapped__")
