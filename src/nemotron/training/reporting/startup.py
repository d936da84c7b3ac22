"""Report the steps before the first iteration, with the time since the start.

With Megatron they take a while.
"""

import importlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

# A message of `barrier_and_log` in megatron/bridge/training/setup.py -> the step that follows it.
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
        """Report the step that begins now."""
        self._say(f"{time.monotonic() - self._began:4.0f} s  {doing}")

    @contextmanager
    def follow_setup(self) -> Iterator[None]:
        """Report the steps of Megatron-Bridge's setup, which runs in the `with` block.

        A release with other messages is not reported.
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
