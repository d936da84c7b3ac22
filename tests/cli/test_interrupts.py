"""What Ctrl-C and SIGTERM do to a command."""

import signal

import pytest

from nemotron.cli.interrupts import stops_at_once


@pytest.fixture(autouse=True)
def handlers():
    """Those from before are back after a command."""
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(signum, signal.default_int_handler) for signum in signals]
    yield
    assert [signal.getsignal(signum) for signum in signals] == [signal.default_int_handler] * 2
    for signum, handler in zip(signals, before, strict=True):
        signal.signal(signum, handler)


def work(signum: signal.Signals, then: list[str]) -> None:
    """Work until a signal, and clean up under a second one."""
    with stops_at_once():
        try:
            signal.raise_signal(signum)
        finally:
            then.append("stops")
            signal.raise_signal(signum)
            then.append("cleaned up")


def test_ctrl_c_is_said_at_once_and_a_second_one_does_not_wait(capfd):
    then = []
    with pytest.raises(KeyboardInterrupt):
        work(signal.SIGINT, then)
    assert then == ["stops"]
    assert capfd.readouterr().err == "\nCtrl-C: stopping ...\n"


def test_sigterm_ends_with_its_own_code_and_a_second_one_does_not_disturb(capfd):
    """Slurm and Kubernetes may send it to the process and to its group."""
    then = []
    with pytest.raises(SystemExit) as end:
        work(signal.SIGTERM, then)
    assert end.value.code == 143
    assert then == ["stops", "cleaned up"]
    assert capfd.readouterr().err.count("SIGTERM: stopping") == 1


@pytest.mark.parametrize("continues", [True, False])
def test_sigterm_promises_to_continue_only_what_does(capfd, continues):
    with pytest.raises(SystemExit), stops_at_once(continues=continues):
        signal.raise_signal(signal.SIGTERM)
    assert ("same command continues" in capfd.readouterr().err) is continues


def test_under_nohup_ctrl_c_stays_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with stops_at_once():
        signal.raise_signal(signal.SIGINT)
    assert signal.signal(signal.SIGINT, signal.default_int_handler) is signal.SIG_IGN
