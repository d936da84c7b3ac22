"""What Ray is asked for, with a stand-in for it; test_on_ray.py has a real cluster."""

import os
import sys
from types import SimpleNamespace

import pytest
from tests.stand_ins import put_modules

from nemotron.data_prep import engine
from nemotron.data_prep.engine import on_ray
from nemotron.errors import UserError


class RayError(Exception):
    """The cluster failed."""


class RayTaskError(RayError):
    """Work raised an error."""

    def __init__(self, cause):
        super().__init__()
        self.cause = cause


class Ray:
    """The module: of the work that is queued, the oldest is done first, when somebody waits for it."""

    def __init__(self):
        self.exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)
        self.started, self.asked, self.most, self.stopped, self.lost = None, [], 0, 0, None
        self.refuses, self.cores, self.waited = None, {"CPU": 2.0}, []

    def is_initialized(self):
        return self.started is not None

    def init(self, **options):
        if self.refuses:
            raise self.refuses
        self.started = options

    def shutdown(self):
        self.stopped += 1

    def cluster_resources(self):
        return self.cores

    def put(self, value):
        return ("stored", value)

    def remote(self, **options):
        self.asked.append(options)
        return lambda do: SimpleNamespace(remote=lambda *arguments: (do, arguments))

    def wait(self, pending, num_returns=1):
        self.most = max(self.most, len(pending))
        self.waited.append(num_returns)
        if self.lost:
            raise self.lost
        return pending[:num_returns], pending[num_returns:]

    def get(self, reference):
        if reference[0] == "stored":
            return reference[1]
        do, (work, key, stored, thing) = reference
        try:
            return do(work, key, tuple(stored), thing)
        except ZeroDivisionError as error:
            raise RayTaskError(error) from None


class Reference(tuple):
    """Work that is queued, which the engine uses as a key."""

    __hash__ = object.__hash__


@pytest.fixture
def ray(monkeypatch):
    ray = Ray()
    remote = ray.remote
    ray.remote = lambda **options: (
        lambda do: SimpleNamespace(remote=lambda *arguments: Reference(remote(**options)(do).remote(*arguments)))
    )
    contents = {name: getattr(ray, name) for name in dir(ray) if not name.startswith("_")}
    put_modules(monkeypatch, {"ray": contents, "ray.exceptions": vars(ray.exceptions)})
    monkeypatch.setattr(on_ray, "_ray", lambda: ray)
    monkeypatch.setattr(on_ray, "_shared", {})
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
    return ray


def divide(shared, thing):
    return shared // thing


def run_all(things, workers=None, address=None, shared=12):
    reported = {}
    with engine.start("ray", address) as run:
        results = run(divide, shared, things, workers=workers, on_done=reported.__setitem__)
    assert results == [reported[position] for position in range(len(things))]
    return results


def test_results_are_in_order_and_work_is_attempted_three_times(ray):
    assert run_all([1, 2, 3, 4, 6]) == [12, 6, 4, 3, 2]
    assert {tuple(options.items()) for options in ray.asked} == {(("num_cpus", 1), ("max_retries", 2))}


@pytest.mark.parametrize(("workers", "cores", "most"), [(None, 2.0, 4), (1, 8.0, 1), (3, 1.0, 3), (None, 0.0, 2)])
def test_no_more_is_queued_than_keeps_the_cores_busy(ray, workers, cores, most):
    ray.cores = {"CPU": cores}
    run_all([1] * 9, workers=workers)
    assert ray.most == most
    ray.cores = {}
    assert on_ray._cores(ray) == 1


def test_without_work_no_cluster_is_started(ray):
    assert run_all([]) == []
    done = []
    with engine.start("ray") as run:
        run(divide, 12, [], workers=None, on_done=lambda *_: None, meanwhile=lambda: done.append("meanwhile"))
    assert done == ["meanwhile"]
    assert ray.started is None
    assert ray.stopped == 0


def test_a_cluster_of_this_machine_is_small_quiet_and_ends(ray):
    with engine.start("ray") as run:
        for _ in range(2):
            run(divide, 1, [1], workers=None, on_done=lambda *_: None)
        assert ray.stopped == 0
    assert (ray.started["address"], ray.started["include_dashboard"], ray.started["log_to_driver"]) == (
        *("local", False),
        False,
    )
    assert ray.started["object_store_memory"] == 256 * 2**20
    assert os.environ.pop("RAY_USAGE_STATS_ENABLED") == "0"
    assert ray.stopped == 1


@pytest.mark.parametrize("named", ["argument", "variable"])
def test_a_running_cluster_gets_the_code_of_this_package(ray, monkeypatch, named):
    if named == "variable":
        monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    run_all([1], address="head:6379" if named == "argument" else None)
    assert ray.started["address"] == "head:6379"
    [package] = ray.started["runtime_env"]["py_modules"]
    assert os.path.isfile(f"{package}/data_prep/engine/on_ray.py")
    assert "object_store_memory" not in ray.started


def test_a_cluster_that_was_there_stays(ray):
    ray.started = {"by": "somebody"}
    run_all([1])
    assert (ray.started, ray.stopped) == ({"by": "somebody"}, 0)


def test_an_error_of_work_reaches_the_caller_once_nothing_is_left_running(ray):
    with engine.start("ray") as run, pytest.raises(ZeroDivisionError):
        run(divide, 12, [0, 1, 2], workers=None, on_done=lambda *_: None)
    assert ray.waited == [1, 2]
    ray.waited.clear()
    with engine.start("ray") as run, pytest.raises(ZeroDivisionError):
        run(divide, 12, [0], workers=None, on_done=lambda *_: None)
    assert ray.waited == [1]


def test_a_cluster_that_loses_its_workers_is_said_in_two_sentences(ray):
    ray.lost = RayError()
    with pytest.raises(UserError, match=r"more than 2 times: RayError\. .*workers=1"):
        run_all([1, 2])
    assert ray.stopped == 1


@pytest.mark.parametrize(
    ("address", "where", "hint"),
    [("head:1", "cluster at head:1: no answer", "ray_address"), (None, "on this machine: no answer", "engine=local")],
)
def test_a_cluster_that_cannot_be_reached_is_named(ray, address, where, hint):
    ray.refuses = ConnectionError("no answer.\nat all")
    with pytest.raises(UserError) as error:
        run_all([1], address=address)
    assert where in error.value.message
    assert hint in str(error.value.hint)
    assert ray.stopped == 0


def test_without_ray_its_name_and_how_to_install_it_are_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with engine.start("ray") as run, pytest.raises(UserError, match=r"engine is ray.*--extra ray"):
        run(divide, 12, [1], workers=None, on_done=lambda *_: None)


def test_a_worker_fetches_what_is_shared_once_a_run(ray, monkeypatch):
    fetched = []
    monkeypatch.setattr(on_ray, "_shared", {"of an earlier run": 0})
    put_modules(monkeypatch, {"ray": {"get": lambda reference: fetched.append(reference) or 12}})
    assert [on_ray._do(divide, "key", ["stored"], thing) for thing in (1, 2)] == [12, 6]
    assert fetched == ["stored"]
    assert on_ray._shared == {"key": 12}
