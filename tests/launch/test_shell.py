"""What is looked at on a host before anything is sent there, with a stand-in for ssh."""

import shutil

import pytest

from nemotron.launch import LaunchError, shell
from nemotron.launch.shell import Answer, check_host, ssh_command


@pytest.fixture
def there(profile):
    return profile('tunnel = "ssh"', 'host = "h"', 'user = "me"', 'remote_job_dir = "/jobs"', "port = 2222")


@pytest.fixture
def answers(monkeypatch):
    """Makes the host answer: `answers(stdout)`; the list has what it was asked."""
    asked = []
    monkeypatch.setattr(shutil, "which", lambda tool: f"/bin/{tool}")

    def answer(stdout="", stderr="", code=0):
        monkeypatch.setattr(
            shell.Shell, "run", lambda self, command: asked.append(command) or Answer(stdout, stderr, code)
        )
        return asked

    return answer


def test_a_command_reads_nothing_and_may_print_anything(profile):
    answer = shell.Shell(profile()).run("cat; printf 'a\\377b'; printf 'no' >&2; exit 3")
    assert (answer.stdout, answer.stderr, answer.code, answer.ok) == ("a\ufffdb", "no", 3, False)
    assert shell.Shell(profile()).run("true").ok


def test_a_host_is_asked_for_its_tools_and_interpreters_at_once(there, answers):
    asked = answers()
    check_host(there, ["/opt/my python"])
    assert len(asked) == 1
    assert asked[0].startswith("for tool in rsync sbatch '/opt/my python'; do ")


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ("missing sbatch\nmissing rsync\n", r"^sbatch and rsync cannot be found on me@h\."),
        ("missing rsync\nmissing /opt/python\n", r"interpreter /opt/python does not exist on me@h\. .*profile here"),
    ],
)
def test_what_a_host_lacks_is_named(there, answers, found, message):
    answers(found)
    with pytest.raises(LaunchError, match=message):
        check_host(there, ["/opt/python"])


@pytest.mark.parametrize("tool", ["ssh", "rsync"])
def test_what_this_machine_lacks_is_named(there, answers, monkeypatch, tool):
    asked = answers()
    monkeypatch.setattr(shutil, "which", lambda name: None if name == tool else name)
    with pytest.raises(LaunchError, match=f"^{tool}, .*me@h, is not installed on this machine"):
        check_host(there)
    assert asked == []


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (
            "REMOTE HOST IDENTIFICATION HAS CHANGED!",
            "is not the one in known_hosts",
            "ssh-keygen -R h, then ssh -p 2222 me@h",
        ),
        ("No ED25519 host key is known for h", "is not in known_hosts", "ssh -p 2222 me@h"),
        ("Host key verification failed.", "is not in known_hosts", "ssh -p 2222 me@h"),
    ],
)
def test_a_host_with_an_unknown_key_is_sent_nothing(there, answers, words, message, hint):
    answers(stderr=words, code=255)
    with pytest.raises(LaunchError, match=message) as caught:
        check_host(there)
    assert str(caught.value.hint).endswith(hint)


def test_another_failure_is_left_to_nemo_run_which_may_ask_for_a_password(there, answers):
    answers(stderr="Permission denied (publickey,password).", code=255)
    check_host(there)


def test_ssh_asks_nothing_and_knows_its_hosts(there, profile, monkeypatch):
    always = ["-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "ConnectTimeout=20"]
    assert ssh_command(there) == ["ssh", *always, "-p", "2222", "me@h"]
    monkeypatch.setenv("HOME", "/home/me")
    lines = ('tunnel = "ssh"', 'host = "h"', 'user = "me"', 'remote_job_dir = "/jobs"', 'identity = "~/.ssh/key"')
    assert ssh_command(profile(*lines)) == ["ssh", *always, "-i", "/home/me/.ssh/key", "me@h"]
