"""Whether runs can be sent to W&B from here, with the server replaced by what its client says."""

import ssl
import urllib.request
from email.message import Message
from urllib.error import HTTPError, URLError

import pytest

from nemotron.lineage.access import (
    Target,
    _setting,
    ask_server,
    describe_access_of_job,
    explain_unreachable,
    find_key,
    find_server,
    find_target,
)

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
    assert explain_unreachable(Target("sft", mode="offline"), ENVIRON) is None
    if said is None:
        assert why is None
    else:
        assert why.startswith("https://***@wandb.example.com does not answer (")
        assert said in why


@pytest.fixture
def nobody(tmp_path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A machine on which nobody has logged in to W&B; the variables that say so."""
    for name in ("WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_MODE", "WANDB_PROJECT", "WANDB_ENTITY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return {"NETRC": str(tmp_path / "netrc")}


def test_a_project_turns_recording_on_and_a_mode_turns_it_off(nobody: dict[str, str], tmp_path) -> None:
    assert find_target(environ=nobody) is None
    assert find_target("mine", environ={"WANDB_PROJECT": "other", "WANDB_ENTITY": "team"}) == Target("mine", "team")
    assert find_target(environ={"WANDB_PROJECT": "other"}) == Target("other")
    assert (str(Target("other")), str(Target("mine", "team"))) == ("other", "team/mine")
    assert find_target("mine", environ={"WANDB_MODE": "dryrun"}) == Target("mine", mode="offline")
    assert find_target("mine", "me", {"WANDB_ENTITY": "team", "WANDB_MODE": "offline"}) == Target(
        "mine", "me", "offline"
    )
    assert find_target("mine", environ={"WANDB_MODE": "disabled"}) is None
    (tmp_path / "settings").write_text("[default]\nmode = offline\nbase_url = https://wandb.example.com/\n")
    assert find_target("mine", environ={}) == Target("mine", mode="offline")
    assert find_target("mine", environ={"WANDB_MODE": "online"}) == Target("mine")
    assert find_server({}) == "https://wandb.example.com"
    assert find_server({"WANDB_BASE_URL": "https://other"}) == "https://other"


def test_a_key_is_a_variable_or_stands_in_the_netrc_file_for_that_server(nobody: dict[str, str], tmp_path) -> None:
    assert find_key(nobody) is None
    assert "no API key" in str(ask_server(Target("sft"), nobody).unreachable)
    assert find_key({**nobody, "WANDB_API_KEY": "k"}) == "WANDB_API_KEY"
    (tmp_path / "netrc").write_text("machine wandb.example.com login user password k\n")
    (tmp_path / "netrc").chmod(0o600)
    assert find_key(nobody) is None
    assert find_key({**nobody, "WANDB_BASE_URL": "https://wandb.example.com"}) == "the netrc file"


def test_before_a_job_is_queued_it_is_said_what_it_lacks(
    nobody: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(project: str | None, shares_home: bool = True, **environ: str) -> list[str]:
        return describe_access_of_job({**nobody, **environ}, project, None, shares_home=shares_home)

    assert said(None, False) == said("mine", False, WANDB_MODE="offline") == []
    assert "there is no API key" in said("mine")[0]
    assert "no API key is passed to the job" in said("mine", shares_home=False)[0]
    monkeypatch.setattr("nemotron.lineage.access._explain_silence", lambda address: None)
    assert said("mine", shares_home=False, WANDB_API_KEY="k") == []


def test_a_stored_setting_may_have_a_percent_sign(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path))
    (tmp_path / "settings").write_text("[default]\nbase_url = https://h/%7Ea\n")
    assert _setting("base_url") == "https://h/%7Ea"
    assert _setting("mode") is None
