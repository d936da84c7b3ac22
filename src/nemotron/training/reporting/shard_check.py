"""Check the shards during a run."""

from megatron.bridge.training.callbacks import Callback, CallbackContext

from nemotron.training.shards import ShardCheck


class ChecksShards(Callback):
    """Stops a run whose shards are damaged, or change while it trains."""

    def __init__(self, check: ShardCheck) -> None:
        self._check = check

    def on_train_start(self, context: CallbackContext) -> None:
        """Wait for the check that started with the run."""
        self._check.finish()

    def on_train_step_start(self, context: CallbackContext) -> None:
        """Check a few shards again."""
        self._check.look_again()
