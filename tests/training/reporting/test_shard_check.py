"""When a run's shards are checked, with a stand-in for Megatron-Bridge's callback."""

from types import SimpleNamespace

from tests.stand_ins import import_again, put_modules


def test_shards_are_checked_before_the_first_step_and_a_few_with_every_step(monkeypatch):
    callback = {"Callback": object, "CallbackContext": object}
    put_modules(monkeypatch, {"megatron.bridge.training.callbacks": callback})
    module, calls = import_again(monkeypatch, "nemotron.training.reporting.shard_check"), []
    check = SimpleNamespace(finish=lambda: calls.append("whole"), look_again=lambda: calls.append("few"))
    checks = module.ChecksShards(check)
    checks.on_train_start(None)
    for _ in range(2):
        checks.on_train_step_start(None)
    assert calls == ["whole", "few", "few"]
