import socket

import pytest

from nemotron import doctor
from nemotron.data_prep.config import TokenizerConfig
from nemotron.data_prep.tokenization import tokenizer
from nemotron.errors import UserError


@pytest.fixture
def nothing_listens(monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{unused.getsockname()[1]}")
        for name in ("https_proxy", "HTTPS_PROXY", "HF_HUB_OFFLINE"):
            monkeypatch.delenv(name, raising=False)
        yield


def test_an_endpoint_that_listens_is_reachable(monkeypatch, nothing_listens):
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        assert doctor.is_hub_reachable()


@pytest.mark.parametrize("endpoint", ["not an address", "http://127.0.0.1:no-port"])
def test_what_is_no_address_is_not(monkeypatch, nothing_listens, endpoint):
    assert not doctor.is_hub_reachable()
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    assert not doctor.is_hub_reachable()


def test_a_tokenizer_that_is_neither_here_nor_there_is_refused_without_trying_for_a_minute(
    monkeypatch, nothing_listens, tmp_path
):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError) as refused:
        tokenizer.load_tokenizer(TokenizerConfig(model="nobody/has-this"))
    assert "nobody/has-this" in refused.value.message
    assert "tokenizer.model" in str(refused.value.hint)
