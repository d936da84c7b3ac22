"""The callback with which a run checks its shards."""

from megatron.bridge.training.callbacks import Callback, CallbackContext

from nemotron.training.shards import ShardCheck


class ChecksShards(Callback):
    """Stops a run whose shards are damaged, or change while it trains."""

    def __init__(self, check: ShardCheck) -> None:
        self._check = check

    def on_train_start(self, context: CallbackContext) -> None:
        """Wait for what began with the run."""
        self._check.finish()

    def on_train_step_start(self, context: CallbackContext) -> None:
        """Look at a few shards again."""
        self._check.look_again()
