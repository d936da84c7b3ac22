"""Whether runs can be sent to W&B from here, with the server replaced by what its client says."""

import ssl
import urllib.request
from email.message import Message
from urllib.error import HTTPError, URLError

import pytest

from nemotron.lineage.access import Target, explain_unreachable

ENVIRON = {"WANDB_API_KEY": "k" * 40, "WANDB_BASE_URL": "https://me:gulf-stream@wandb.example.com/"}


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (URLError(ConnectionRefusedError(111, "Connection refused")), "Connection refused"),
        (URLError(TimeoutError("timed out")), "timed out"),
        (TimeoutError("timed out"), "timed out"),
        (ValueError("unknown url type"), "unknown url type"),
        # It is there: it has answered, and W&B's own client may trust the certificate.
        (HTTPError("https://wandb.example.com/healthz", 404, "Not Found", Message(), None), None),
        (URLError(ssl.SSLCertVerificationError("self-signed certificate")), None),
    ],
)
def test_a_server_is_out_of_reach_when_it_does_not_answer(monkeypatch: pytest.MonkeyPatch, error, said):
    def urlopen(address: str, timeout: float):
        assert address == "https://me:gulf-stream@wandb.example.com/healthz"
        raise error

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    why = explain_unreachable(Target("sft", mode="online"), ENVIRON)
    if said is None:
        assert why is None
    else:
        assert why.startswith("https://***@wandb.example.com does not answer (")
        assert said in why
