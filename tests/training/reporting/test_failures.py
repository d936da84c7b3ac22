"""How `finetune()` ends, and what the user reads."""

import errno
import logging
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.training.checkpoints.made_up import write_checkpoint

from nemotron.errors import UserError
from nemotron.training.reporting.failures import explain_failures
from nemotron.training.reporting.full_disk import explain_full_disk, explain_full_disk_of

LOG = Path("nowhere/train.log")
NOT_FINITE = (
    "Rank 3, node n1, device 0, iteration 17: "
    "Unexpected result nan (message='found NaN in local grad norm for bucket #0')"
)
bridge_log = logging.getLogger("megatron.bridge.training.pretrain")


def at(iteration):
    return SimpleNamespace(iteration=iteration)


def fail(error):
    """What Megatron-Bridge's pretrain() does with an error: log it with its traceback, and raise it again."""
    try:
        raise error
    except BaseException:
        bridge_log.exception("Pretrain failed on rank=%s", 0)
        raise


@pytest.mark.parametrize("code", [0, None])
def test_a_stop_on_a_signal_is_no_error_and_no_line_in_the_log(caplog, tmp_path, code):
    with explain_failures(at(4), LOG, tmp_path) as ending:
        fail(SystemExit(code))
    assert ending.stopped
    assert not caplog.records


def test_the_end_of_a_run_is_no_stop(tmp_path):
    with explain_failures(at(4), LOG, tmp_path) as ending:
        pass
    assert not ending.stopped


@pytest.mark.parametrize(("saved", "told"), [(None, "No checkpoint"), (20, "iteration 20")])
def test_a_run_that_diverges_says_what_is_left(tmp_path, saved, told):
    if saved:
        write_checkpoint(tmp_path, saved)
    with pytest.raises(UserError) as error, explain_failures(at(17), LOG, tmp_path):
        raise RuntimeError(NOT_FINITE)
    assert told in error.value.hint


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "of one language"),
        OSError(errno.EDQUOT, "of another"),
        RuntimeError("worker: [Errno 28] No space left on device"),
        RuntimeError("worker: [Errno 122] Disk quota exceeded"),
    ],
)
def test_a_full_disk_says_where_how_much_and_what_is_left(tmp_path, error):
    saved = write_checkpoint(tmp_path, 20)
    needed = sum(path.stat().st_size for path in saved.iterdir())
    with pytest.raises(UserError) as raised, explain_failures(at(21), LOG, tmp_path):
        fail(error)
    assert str(tmp_path) in raised.value.message
    assert f"{needed:,} bytes" in raised.value.message
    assert "iteration 20" in raised.value.hint


def test_a_full_disk_is_found_behind_what_failed_because_of_it(tmp_path):
    """Whether it was raised `from` the error of the disk, or while that was handled."""
    full = OSError(errno.ENOSPC, "No space left on device")
    said_from, in_passing = RuntimeError("a writer failed"), RuntimeError("a writer failed")
    said_from.__cause__, in_passing.__context__ = full, full
    for error in (said_from, in_passing):
        with pytest.raises(UserError, match=f"{tmp_path} is full"), explain_failures(at(21), LOG, tmp_path):
            raise error


@pytest.mark.parametrize(("free", "is_full"), [(0, True), (10**15, False)])
def test_a_failed_write_is_a_full_disk_where_no_room_is_left(tmp_path, monkeypatch, free, is_full):
    """What torch and Megatron-Core raise does not say it."""
    write_checkpoint(tmp_path, 20)
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=free))
    with pytest.raises(UserError if is_full else RuntimeError), explain_failures(at(21), LOG, tmp_path):
        fail(RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 704 vs 598"))


@pytest.mark.parametrize("skipped", [False, True])
def test_room_for_exactly_one_checkpoint_is_enough(tmp_path, monkeypatch, skipped):
    """One is as large as its files; where none is whole, as the largest that was cut short."""
    folder = write_checkpoint(tmp_path, 20)
    if skipped:
        (folder / "run_config.yaml").unlink()
    (folder / "more").mkdir()
    (folder / "more/file").write_bytes(bytes(100))
    needed = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    for free, raised in ((needed, RuntimeError), (needed - 1, UserError)):
        monkeypatch.setattr("shutil.disk_usage", lambda path, free=free: SimpleNamespace(free=free))
        with pytest.raises(raised), explain_failures(at(21), LOG, tmp_path):
            fail(RuntimeError("unexpected pos 704 vs 598"))


def test_errors_that_name_each_other_are_looked_through_once(tmp_path):
    one, other = RuntimeError("one"), RuntimeError("other")
    one.__context__, other.__context__ = other, one
    assert explain_full_disk(one, tmp_path) is None


def test_another_exit_code_stays_one(tmp_path):
    with pytest.raises(SystemExit), explain_failures(at(4), LOG, tmp_path):
        raise SystemExit(3)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ("found NaN in local grad norm", "NaN in local grad norm"),
        ("found unexpectedly large grad norm", "unexpectedly large grad norm"),
        ("loss is odd", "loss is odd"),
    ],
)
def test_what_megatron_found_is_said_in_its_words(tmp_path, found, said):
    result = NOT_FINITE.replace("found NaN in local grad norm for bucket #0", found)
    with pytest.raises(UserError, match=re.escape(f"Training diverged: {said} (value nan) on rank 3 at iteration 17.")):
        _explain(RuntimeError(result), tmp_path)


def _explain(error, folder):
    with explain_failures(at(17), LOG, folder):
        raise error


def test_the_log_begins_with_rank_iteration_and_reason_and_keeps_the_traceback(caplog, monkeypatch, tmp_path):
    monkeypatch.setenv("RANK", "3")
    with pytest.raises(UserError) as error, explain_failures(at(17), LOG, tmp_path):
        fail(RuntimeError(NOT_FINITE))
    assert "NaN in local grad norm" in error.value.message
    assert "rank 3 at iteration 17" in error.value.message
    [record] = caplog.records
    assert record.getMessage().startswith("Rank 3")
    assert "17" in record.getMessage()
    assert error.value.message in record.getMessage()
    assert record.exc_info is not None


@pytest.mark.parametrize(
    "told_by_torch",
    [
        "[gloo/transport/tcp/pair.cc:553] Connection closed by peer [10.0.0.2]:1234",
        "[gloo/transport/tcp/pair.cc:525] Read error [10.0.0.2]:1234: Connection reset by peer",
        "[gloo/transport/tcp/pair.cc:446] writev [10.0.0.2]:1234: Broken pipe",
        "NCCL: remote process exited",
        "NCCL communicator was aborted on rank 3.",
    ],
)
def test_the_ranks_that_are_left_point_at_the_one_that_ended_first(told_by_torch, tmp_path):
    with (
        pytest.raises(UserError, match=r"Rank 0 .* at iteration 5") as error,
        explain_failures(at(5), LOG, tmp_path),
    ):
        raise RuntimeError(told_by_torch)
    assert "first error" in error.value.hint


def test_an_unknown_failure_keeps_its_traceback_and_names_its_rank_first(caplog, tmp_path):
    with pytest.raises(RuntimeError, match="CUDA out of memory"), explain_failures(at(2), LOG, tmp_path):
        fail(RuntimeError("CUDA out of memory"))
    [record] = caplog.records
    assert re.match(r"Rank 0 .* 2\. RuntimeError: CUDA out of memory", record.getMessage())
    assert record.exc_info is not None


def test_what_megatron_refuses_before_the_first_iteration_is_a_mistake_in_the_config(tmp_path):
    with pytest.raises(UserError, match="lr must be positive"), explain_failures(at(None), LOG, tmp_path):
        raise AssertionError("lr must be positive")
    with pytest.raises(UserError, match="no such process group"), explain_failures(at(None), LOG, tmp_path):
        raise ValueError("no such process group")
    with pytest.raises(AssertionError), explain_failures(at(1), LOG, tmp_path):
        raise AssertionError("a bug")


def test_what_a_process_of_the_data_loader_refuses_is_said_without_its_traceback(tmp_path):
    import torch

    class Damaged(torch.utils.data.Dataset):
        def __len__(self):
            return 1

        def __getitem__(self, index):
            raise UserError("shard_000003.parquet is damaged.", "Prepare the data again.")

    with pytest.raises(UserError) as error, explain_failures(at(4), LOG, tmp_path):
        list(torch.utils.data.DataLoader(Damaged(), num_workers=1))
    assert str(error.value) == "shard_000003.parquet is damaged. Prepare the data again."
    with pytest.raises(UserError) as error, explain_failures(at(4), LOG, tmp_path):
        raise UserError("Of this process.", "Do this.")
    assert (error.value.message, error.value.hint) == ("Of this process.", "Do this.")


def test_a_damaged_checkpoint_is_said_as_it_is_where_torch_wraps_it(tmp_path, monkeypatch):
    """Torch's error holds those of all ranks, and does not mean that the disk is full, even if it is."""
    from torch.distributed.checkpoint.api import CheckpointException

    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=0))
    damaged = UserError("__1_0.distcp is damaged.", "The older one is complete.")
    with pytest.raises(UserError) as error, explain_failures(at(None), LOG, tmp_path):
        fail(CheckpointException("read", {1: (damaged, None)}))  # pyright: ignore[reportArgumentType]
    assert error.value is damaged


def test_a_checkpoint_that_torch_cannot_load_is_named_with_the_one_before(tmp_path):
    from torch.distributed.checkpoint.api import CheckpointException

    for iteration in (2, 4):
        write_checkpoint(tmp_path, iteration)
    missing = RuntimeError("Missing key in checkpoint state_dict: a.b.\nand more")
    with (
        pytest.raises(UserError, match="iter_0000004 cannot be loaded: Missing key") as error,
        explain_failures(at(None), LOG, tmp_path),
    ):
        fail(CheckpointException("read", {0: (missing, None)}))  # pyright: ignore[reportArgumentType]
    assert "iter_0000002 is complete" in error.value.hint


def test_a_checkpoint_of_elsewhere_that_torch_cannot_load_is_named_by_where_the_run_saves(tmp_path):
    from torch.distributed.checkpoint.api import CheckpointException

    with (
        pytest.raises(UserError, match=f"{tmp_path}/checkpoints cannot be loaded: CheckpointException"),
        explain_failures(at(None), LOG, tmp_path / "checkpoints"),
    ):
        fail(CheckpointException("read", {}))


@pytest.mark.parametrize(("free", "is_explained"), [(99, True), (100, False)])
def test_a_model_that_does_not_fit_names_its_folder_and_the_bytes(tmp_path, monkeypatch, free, is_explained):
    """Torch says only that a write failed: the free space decides."""

    class CheckpointException(BaseException):
        """What torch raises, which is no Exception."""

    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=free))
    with (
        pytest.raises(UserError if is_explained else CheckpointException) as error,
        explain_full_disk_of(tmp_path / "new/model", 100),
    ):
        raise CheckpointException
    assert str(error.value).startswith(f"The disk of {tmp_path}/new is full") == is_explained
