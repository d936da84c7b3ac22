"""What Ctrl-C and SIGTERM do to a run, with a stand-in for Megatron-Bridge's own handler."""

import os
import signal
import threading
from types import SimpleNamespace

import pytest
from tests.stand_ins import put_modules

from nemotron.exit_codes import STOPPED_MARK
from nemotron.training.stop_signals import StopSignals, heed_signals


@pytest.fixture
def megatron():
    """Signals that Megatron-Bridge was told of; its handler is in place while a test runs."""
    received: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda signum, frame: received.append(signum))
    yield received
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def said():
    return []


@pytest.fixture
def signals(megatron, said):
    with heed_signals(said.append) as signals:
        yield signals


def test_the_first_interrupt_of_a_training_loop_saves_and_says_so_at_once(signals: StopSignals, megatron, said):
    signals.begin(signal.SIGTERM)
    signal.raise_signal(signal.SIGINT)
    assert megatron == [signal.SIGTERM]
    [line] = said
    assert "saving" in line
    assert "press again to quit now" in line


def test_the_second_ends_the_run(signals: StopSignals, megatron):
    signals.begin(signal.SIGTERM)
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert megatron == [signal.SIGTERM]


def test_sigterm_says_so_too_and_may_come_again(signals: StopSignals, megatron, said):
    """Slurm signals every process of a step, and the one that watches over torchrun signals the ranks."""
    signals.begin(signal.SIGTERM)
    for _ in range(2):
        signal.raise_signal(signal.SIGTERM)
    assert set(megatron) == {signal.SIGTERM}
    assert said[0].startswith("SIGTERM: stopping after this iteration")


@pytest.mark.parametrize("loop_is_over", [False, True])
def test_with_nothing_to_save_one_interrupt_is_enough(signals: StopSignals, megatron, loop_is_over):
    if loop_is_over:
        signals.begin(signal.SIGTERM)
        signals.end()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert not megatron


def test_a_signal_that_megatron_does_not_heed_is_said_all_the_same(signals: StopSignals, said):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signals.begin(signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)
    assert said[0].startswith("SIGTERM: stopping")


def test_an_interrupt_after_sigterm_does_not_quit(signals: StopSignals, megatron):
    signals.begin(signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGINT)
    assert megatron == [signal.SIGTERM, signal.SIGTERM]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forked_children_leave_it_to_their_parent(signals: StopSignals, megatron):
    """A terminal interrupts them too: a loader's worker that died of it would end the run before it has saved."""
    signals.begin(signal.SIGTERM)
    child = os.fork()
    if child == 0:
        try:
            for _ in range(2):
                signal.raise_signal(signal.SIGINT)
        except BaseException:
            os._exit(1)
        os._exit(len(megatron))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_handlers_are_as_before_when_the_run_is_over(megatron):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with heed_signals(print) as signals:
        signals.begin(signal.SIGTERM)
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_shell_that_started_it_in_the_background_keeps_its_interrupts(megatron):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with heed_signals(print):
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_line_that_cannot_be_printed_in_the_middle_of_another_is_written_all_the_same(megatron, capfd):
    def reentrant(text):
        raise RuntimeError("reentrant call inside <_io.BufferedWriter name='<stderr>'>")

    with heed_signals(reentrant) as signals:
        signals.begin(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
    assert "saving" in capfd.readouterr().err


@pytest.mark.parametrize("handled", [True, False])
def test_a_training_loop_is_told_of_by_a_callback(signals: StopSignals, monkeypatch, said, megatron, handled):
    """Only where Megatron-Bridge has a handler, of a signal that the config names."""
    put_modules(monkeypatch, {"megatron.bridge.training.callbacks": {"Callback": object, "CallbackContext": object}})
    train = SimpleNamespace(exit_signal_handler=handled, exit_signal=signal.SIGTERM)
    context = SimpleNamespace(state=SimpleNamespace(cfg=SimpleNamespace(train=train)))
    callback = signals.callback()
    callback.on_train_start(context)
    signal.raise_signal(signal.SIGTERM)
    assert (len(said), len(megatron)) == ((1, 1) if handled else (0, 1))
    callback.on_train_end(context)
    with pytest.raises(KeyboardInterrupt):
        signals.interrupt(signal.SIGINT, None)


def test_a_thread_handles_no_signals(megatron):
    before = [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)]

    def work():
        with heed_signals(print) as signals:
            signals.begin(signal.SIGTERM)
            found.append([signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)])

    found = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [before]


def test_an_exit_signal_may_be_the_interrupt_itself(signals: StopSignals, said):
    """Its handler says what happens already."""
    signals.begin(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == signals.interrupt


def test_a_launcher_is_told_when_iterations_begin(signals: StopSignals, monkeypatch, tmp_path):
    """A signal before that ends a run that has nothing to save; after it, a save may fail."""
    monkeypatch.setenv(STOPPED_MARK, str(tmp_path / "stopped"))
    assert list(tmp_path.iterdir()) == []
    signals.begin(signal.SIGTERM)
    assert [path.name for path in tmp_path.iterdir()] == ["stopped.begun"]


def test_a_handler_that_was_not_set_from_python_is_not_set_again(monkeypatch):
    before = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}
    monkeypatch.setattr(signal, "getsignal", lambda signum: None)
    try:
        with heed_signals(print) as signals:
            pass
        assert signal.signal(signal.SIGINT, signal.SIG_DFL) == signals.interrupt
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
