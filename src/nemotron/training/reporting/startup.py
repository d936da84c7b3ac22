"""Say what a run does before its first iteration, with the time since it began.

With Megatron that takes a while.
"""

import importlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

# What megatron/bridge/training/setup.py has finished, in the words of its `barrier_and_log`, and what it does next.
_NEXT = {
    "after megatron is initialized": "Loading the tokenizer",
    "after tokenizer is built": "Building the model and the optimizer",
    "after model, optimizer, and learning rate scheduler are built": "Loading the checkpoint, opening the data",
    "after dataloaders are built": "Training begins",
}


class Startup:
    """Reports the steps of a start: `Importing Megatron-Bridge (3 s)`."""

    def __init__(self, say: Callable[[str], object]) -> None:
        self._say = say
        self._began = time.monotonic()

    def step(self, doing: str) -> None:
        """Say what begins now."""
        self._say(f"{time.monotonic() - self._began:4.0f} s  {doing}")

    @contextmanager
    def follow_setup(self) -> Iterator[None]:
        """Report the steps of Megatron-Bridge's own setup, which runs inside.

        A release that logs others is silent.
        """
        setup: Any = importlib.import_module("megatron.bridge.training.setup")
        original = getattr(setup, "barrier_and_log", None)
        if original is None:
            yield
            return

        def barrier_and_log(text: str) -> None:
            original(text)
            if text in _NEXT:
                self.step(_NEXT[text])

        setup.barrier_and_log = barrier_and_log
        try:
            yield
        finally:
            setup.barrier_and_log = original
