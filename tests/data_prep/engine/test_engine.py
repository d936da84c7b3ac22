"""The engine: the same results in the same order from any number of processes, and no process left behind."""

import operator
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from nemotron.data_prep.engine import local
from nemotron.data_prep.engine.local import _set, use_processes
from nemotron.errors import UserError

# Work from the standard library: a worker process can import it, which it could not a test module.


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order_and_are_reported_as_they_finish(workers: int) -> None:
    reported: dict[int, int] = {}
    with use_processes() as run:
        results = run(operator.floordiv, 12, [1, 2, 3, 4], workers=workers, on_done=reported.__setitem__)
    assert results == [12, 6, 4, 3]
    assert reported == dict(enumerate(results))


@pytest.mark.parametrize("workers", [1, 2])
def test_this_process_does_something_else_before_any_result_is_reported(workers: int) -> None:
    steps: list[str] = []
    with use_processes() as run:
        run(
            operator.floordiv, 12, [1, 2],
            workers=workers, on_done=lambda *_: steps.append("done"), meanwhile=lambda: steps.append("meanwhile"),
        )  # fmt: skip
    assert steps == ["meanwhile", "done", "done"]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_what_this_process_does_meanwhile_ends_the_work(workers: int) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with use_processes() as run, pytest.raises(ZeroDivisionError):
        run(operator.floordiv, 12, [1, 2], workers=workers, on_done=lambda *_: None, meanwhile=fail)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_reaches_the_caller(workers: int) -> None:
    with use_processes() as run, pytest.raises(ZeroDivisionError):
        run(operator.floordiv, 12, [1, 0, 2], workers=workers, on_done=lambda *_: None)


def test_workers_are_kept_for_the_next_work_and_get_what_it_shares() -> None:
    def told(name: str, workers: int) -> tuple[set[str], set[int]]:
        """What workers were told, and their processes: each is busy long enough for every one to take its share."""
        expression = f"(__import__('time').sleep(0.3), {name!r}, __import__('os').getpid())"
        done = run(eval, expression, [{}] * workers, workers=workers, on_done=lambda *_: None)
        return {name for _, name, _ in done}, {process for _, _, process in done}

    with use_processes() as run:
        (first, two), (second, same), (third, three) = told("first", 2), told("second", 2), told("third", 3)
    assert (first, second, third) == ({"first"}, {"second"}, {"third"})
    assert two == same
    assert (len(two), len(three)) == (2, 3)
    assert not two & three  # another number of workers are other ones


def test_what_a_worker_is_started_with_is_gone_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("NEMOTRON_OF_A_TEST", raising=False)
    with _set({"OMP_NUM_THREADS": "1", "NEMOTRON_OF_A_TEST": "x"}):
        assert (os.environ["OMP_NUM_THREADS"], os.environ["NEMOTRON_OF_A_TEST"]) == ("1", "x")
    assert (os.environ["OMP_NUM_THREADS"], "NEMOTRON_OF_A_TEST" in os.environ) == ("7", False)


def test_ctrl_c_is_left_to_the_parent() -> None:
    """A terminal sends it to workers, too: one that died of it would be reported as lost."""
    ignores = "__import__('signal').getsignal(2) is __import__('signal').SIG_IGN"
    with use_processes() as run:
        assert run(eval, ignores, [{}, {}], workers=2, on_done=lambda *_: None) == [True, True]


def test_ctrl_c_does_not_reach_workers_that_are_still_starting() -> None:
    code = """
import multiprocessing.forkserver, re, signal
from pathlib import Path
from nemotron.data_prep.engine.local import get_ready
get_ready([], {})
status = Path(f"/proc/{multiprocessing.forkserver._forkserver._forkserver_pid}/status").read_text()
blocked = int(re.search(r"SigBlk:\\s*(\\w+)", status)[1], 16)
print(bool(blocked & 1 << signal.SIGINT - 1), signal.pthread_sigmask(signal.SIG_BLOCK, []))
"""
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert printed.stdout == "True set()\n"


def test_after_an_error_there_are_workers_again() -> None:
    with use_processes() as run:
        with pytest.raises(ZeroDivisionError):
            run(operator.floordiv, 12, [1, 0, 2], workers=2, on_done=lambda *_: None)
        assert run(operator.floordiv, 12, [1, 2], workers=2, on_done=lambda *_: None) == [12, 6]


def full_disk(**options: int) -> IO[bytes]:
    return open("/dev/full", "wb", **options)


def no_folder(**options: int) -> IO[bytes]:
    raise FileNotFoundError(2, "No usable temporary directory found")


@pytest.mark.parametrize(
    ("opened", "problem"), [(full_disk, "No space left on device"), (no_folder, "No usable temporary directory")]
)
def test_no_room_for_what_is_shared_is_the_users_to_mend(
    opened: Callable[..., IO[bytes]], problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.TemporaryFile", opened)
    with use_processes() as run, pytest.raises(UserError, match=problem) as error:
        run(operator.add, 10, [1, 2], workers=2, on_done=lambda *_: None)
    assert "TMPDIR" in str(error.value.hint)


def test_a_worker_that_dies_is_reported() -> None:
    """Here by a signal, as the kernel does it when memory runs out."""
    code = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    with use_processes() as run, pytest.raises(UserError, match="memory"):
        run(exec, code, [{}, {}], workers=2, on_done=lambda *_: None)


def test_a_worker_that_ends_by_itself_is_reported_with_its_exit_code() -> None:
    """A script that calls `prepare` unguarded is such a case: workers import it."""
    with use_processes() as run, pytest.raises(UserError, match="exit code 1") as error:
        run(exec, "import os; os._exit(1)", [{}, {}], workers=2, on_done=lambda *_: None)
    assert "__main__" in str(error.value.hint)


class Slowly(list[dict[str, Any]]):
    """Hands its things out so slowly that the worker with the first one has ended before the second is sent."""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for thing in super().__iter__():
            yield thing
            time.sleep(0.2)


def test_a_worker_that_ends_before_the_others_start_is_reported_with_its_exit_code() -> None:
    with use_processes() as run, pytest.raises(UserError, match="exit code 1"):
        run(exec, "import os; os._exit(1)", Slowly([{}, {}]), workers=2, on_done=lambda *_: None)


def test_a_worker_that_a_template_keeps_busy_is_reported_as_that() -> None:
    code = "import signal; signal.raise_signal(signal.SIGVTALRM)"
    with use_processes() as run, pytest.raises(UserError, match="chat template"):
        run(exec, code, [{}, {}], workers=2, on_done=lambda *_: None)


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(
        textwrap.dedent(
            """
            import os, pathlib, time
            from nemotron.data_prep.engine.local import use_processes

            def work(folder, thing):
                pathlib.Path(folder, str(os.getpid())).touch()
                time.sleep(300)

            if __name__ == "__main__":
                with use_processes() as run:
                    run(work, os.path.dirname(__file__) + "/pids", [1, 2], workers=2, on_done=print)
            """
        )
    )
    pids = tmp_path / "pids"
    pids.mkdir()
    parent = subprocess.Popen([sys.executable, "job.py"], cwd=tmp_path)
    while len(list(pids.iterdir())) < 2:
        assert parent.poll() is None
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    workers = [Path("/proc", path.name, "stat") for path in pids.iterdir()]
    deadline = time.monotonic() + 60
    while (left := [stat for stat in workers if is_running(stat)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left


def is_running(stat: Path) -> bool:
    """Whether the process of a /proc/<pid>/stat exists and is more than a zombie."""
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize(
    ("exit_codes", "said"),
    [
        ([0, 1, 3], "exit code 3"),
        ([-9, 2], "exit code 2"),
        ([0, -9], "out of memory"),
        ([0], "out of memory"),
        ([2, -signal.SIGVTALRM], "without an end"),
    ],
)
def test_why_workers_were_lost_follows_from_how_they_ended(exit_codes: list[int], said: str) -> None:
    assert said in local._explain_loss(exit_codes).message


@pytest.mark.parametrize(("size", "things"), [(1, 3), (4, 1), (4, 0)])
def test_little_work_is_done_in_this_process(monkeypatch: pytest.MonkeyPatch, size: int, things: int) -> None:
    monkeypatch.setattr(local, "ProcessPoolExecutor", None)
    done: list[tuple[int, int]] = []
    results = local._Workers().run(
        lambda shared, thing: shared + thing, 10, [*range(things)], workers=size, on_done=lambda *one: done.append(one)
    )
    assert results == [10 + thing for thing in range(things)]
    assert done == [(thing, 10 + thing) for thing in range(things)]


def test_the_end_waits_for_the_work_in_progress_and_discards_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[dict[str, bool]] = []

    class Pool:
        def __init__(self, size: int, **_: object) -> None:
            pass

        def shutdown(self, **how: bool) -> None:
            said.append(how)

    monkeypatch.setattr(local, "ProcessPoolExecutor", Pool)
    workers = local._Workers()
    workers.end()
    assert not said
    kept = workers._of_size(2)
    assert workers._of_size(2) is kept
    assert workers._of_size(3) is not kept
    workers.end()
    workers.end()
    assert said == [{"wait": True, "cancel_futures": True}] * 2
