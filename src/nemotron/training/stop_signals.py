"""Handle Ctrl-C and SIGTERM: stop after this iteration, save, and say so at once.

Megatron-Bridge handles one signal, `train.exit_signal`: it saves after the iteration and leaves its training loop. Here
the first Ctrl-C becomes that signal, and the second ends the run. Before the first iteration and after the last there
is nothing to save, so one Ctrl-C is enough.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from nemotron.exit_codes import BEGUN, STOPPED_MARK

Say = Callable[[str], object]


class StopSignals:
    """The signal handlers of a run. Made by `heed_signals`."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._process = os.getpid()
        self._exit_signal: int | None = None
        """Megatron-Bridge's signal, while its training loop runs."""
        self._megatrons: Any = None
        """Megatron-Bridge's handler for it."""
        self._interrupted = False

    def callback(self) -> Any:
        """Make the Megatron-Bridge callback that tells when the training loop runs.

        It goes after the callbacks of the release.
        """
        from megatron.bridge.training.callbacks import Callback, CallbackContext

        stop_signals = self

        class HeedSignals(Callback):
            def on_train_start(self, context: CallbackContext) -> None:
                train: Any = context.state.cfg.train  # pyright: ignore[reportOptionalMemberAccess]
                if train.exit_signal_handler:
                    stop_signals.begin(train.exit_signal)

            def on_train_end(self, context: CallbackContext) -> None:
                stop_signals.end()

        return HeedSignals()

    def begin(self, exit_signal: int) -> None:
        """Start to pass signals on: from now on there is something to save."""
        if mark := os.environ.get(STOPPED_MARK):
            Path(mark + BEGUN).touch()
        if threading.current_thread() is not threading.main_thread():
            return
        self._exit_signal = exit_signal
        self._megatrons = signal.getsignal(exit_signal)
        if exit_signal != signal.SIGINT:
            signal.signal(exit_signal, self._stop)

    def end(self) -> None:
        """Stop passing signals on: there is nothing left to save."""
        self._exit_signal = None

    def interrupt(self, signum: int, frame: FrameType | None) -> None:
        """Handle Ctrl-C.

        A terminal also sends it to forked children, such as data loader workers and checkpoint writers.
        """
        if os.getpid() != self._process:
            return
        if self._exit_signal is None or self._interrupted:
            raise KeyboardInterrupt
        self._interrupted = True
        self._say_at_once("Ctrl-C: stopping after this iteration, saving; press again to quit now.")
        self._hand_on(self._exit_signal, frame)

    def _stop(self, signum: int, frame: FrameType | None) -> None:
        if os.getpid() == self._process:
            self._say_at_once(f"{signal.Signals(signum).name}: stopping after this iteration, saving.")
        self._hand_on(signum, frame)

    def _hand_on(self, signum: int, frame: FrameType | None) -> None:
        if callable(self._megatrons):
            self._megatrons(signum, frame)

    def _say_at_once(self, text: str) -> None:
        try:
            self._say(text)
        except RuntimeError:  # the signal arrived during a write to the same stream
            with contextlib.suppress(OSError):
                os.write(2, f"{text}\n".encode())


@contextlib.contextmanager
def heed_signals(say: Say) -> Iterator[StopSignals]:
    """Handle Ctrl-C and the signals of a training loop inside the `with` block.

    Args:
        say: Prints a line.
    """
    signals = StopSignals(say)
    if threading.current_thread() is not threading.main_thread():
        yield signals
        return
    kept = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}
    if kept[signal.SIGINT] is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signals.interrupt)
    try:
        yield signals
    finally:
        signals.end()
        for signum, handler in kept.items():
            if handler is not None:  # None: a handler that was not set from Python
                signal.signal(signum, handler)
