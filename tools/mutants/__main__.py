"""Try changes, and list those that no test notices."""

import argparse
import ast
import contextlib
import gc
import importlib
import os
import random
import select
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FunctionType

import pytest
from tools.mutants.changes import Change, list_changes

ROOT = Path(__file__).resolve().parents[2]
SOURCE, TESTS = ROOT / "src" / "nemotron", ROOT / "tests"
SURVIVED, NOT_FOUND, NOTICED = 100, 101, 102
"""How a trial ends. A crash, or one that takes too long, is noticed too."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sources", type=Path, nargs="+", help="files or folders of src/nemotron")
    parser.add_argument("--tests", type=Path, nargs="+", help="files or folders; by default those of the same room")
    parser.add_argument("--sample", type=int, help="try so many changes of each file, chosen at random")
    parser.add_argument("--seconds", type=float, default=60, help="a change that takes the tests longer is noticed")
    arguments = parser.parse_args()
    files = [file.resolve() for source in arguments.sources for file in _modules(source)]
    tests = arguments.tests or sorted({_room(file) for file in files})
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = tempfile.mkdtemp()  # what they find is of no use later
    trials = _Trials(files, arguments.sample, arguments.seconds)
    options = ["-q", "-m", "not slow", "-p", "no:cacheprovider", "-o", "tmp_path_retention_policy=none"]
    code = pytest.main([*options, "--hypothesis-seed=0", *map(str, tests)], plugins=[trials])
    sys.exit(code or trials.failed)  # pytest's own: there are no tests


def _modules(source: Path) -> Iterator[Path]:
    if not source.resolve().is_relative_to(SOURCE):
        sys.exit(f"error: {source} is not below {SOURCE}.")
    if source.is_file():
        yield source
    elif found := [path for path in sorted(source.rglob("*.py")) if path.name != "__init__.py"]:
        yield from found
    else:
        sys.exit(f"error: {source} has no modules.")


def _room(file: Path) -> Path:
    """Return where the tests of a module are: its file, the folder of its room, or that of the room around it."""
    places = (TESTS / file.relative_to(SOURCE).parent / "x").parents
    folder = next(place for place in places if place.is_dir())
    own = folder / f"test_{file.stem}.py"
    return own if folder in (TESTS, TESTS / "training", TESTS / "data_prep") and own.is_file() else folder


class _Trials:
    """A plugin of pytest that tries changes instead of running the tests once."""

    def __init__(self, files: list[Path], sample: int | None, seconds: float) -> None:
        self._files, self._sample, self._seconds = files, sample, seconds
        self._is_trial = False
        self.failed = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if self._is_trial and report.failed:
            os._exit(NOTICED)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        session.config.pluginmanager.unregister(name="terminalreporter")
        warnings.simplefilter("ignore")  # one for each fork
        for file in self._files:  # and they are imported before a trial is forked
            importlib.import_module(".".join(["nemotron", *file.relative_to(SOURCE).with_suffix("").parts]))
        if self._try(session, 10 * self._seconds) != SURVIVED:
            print("\nerror: The tests fail without a change.\nhint: Run them alone, and mend them first.")
            self.failed = True
            return True
        ends = [self._try_change(session, file, number) for file in self._files for number in self._choose(file)]
        noticed, tried = ends.count(NOTICED), len(ends) - ends.count(NOT_FOUND)
        print(f"\n{noticed} of {tried} changes are noticed ({noticed / max(tried, 1):.0%}).")
        return True

    def _choose(self, file: Path) -> list[int]:
        """Choose which changes of a file are tried, by number."""
        every = range(len(list_changes(_parse(file))))
        if self._sample is None or self._sample >= len(every):
            return [*every]
        return sorted(random.Random(0).sample(every, self._sample))

    def _try_change(self, session: pytest.Session, file: Path, number: int) -> int:
        module = _parse(file)  # again, because a change is made in it
        change = list_changes(module)[number]
        end = self._try(session, self._seconds, lambda: _change(file, module, change))
        if end == SURVIVED:
            print(f"{file.relative_to(ROOT)}:{change.line}: {change.what}", flush=True)
        return end

    def _try(self, session: pytest.Session, seconds: float, change: Callable[[], bool] = lambda: True) -> int:
        """Run all tests in a process of their own, up to the first that fails."""
        sys.stdout.flush()
        child = os.fork()
        if child:
            return _wait(child, seconds)
        os.setsid()
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        if not change():
            os._exit(NOT_FOUND)
        self._is_trial = True
        for item, following in zip(session.items, [*session.items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        os._exit(SURVIVED)


def _wait(child: int, seconds: float) -> int:
    """Wait for a trial, and end what it leaves behind."""
    ended = select.select([os.pidfd_open(child)], [], [], seconds)[0]
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code if ended and code in (SURVIVED, NOT_FOUND) else NOTICED


def _parse(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), str(file))


def _change(file: Path, module: ast.Module, change: Change) -> bool:
    """Change a function wherever it has been imported; tell whether it was found."""
    change.apply()
    gc.unfreeze()  # tests/conftest.py freezes what is collected, and frozen objects are not listed
    code = _find_code(compile(module, str(file), "exec"), change)
    functions = [
        each
        for each in gc.get_objects()
        if isinstance(each, FunctionType)
        and (each.__code__.co_filename, each.__code__.co_qualname) == (str(file), change.function)
        and each.__code__.co_firstlineno == change.first_line
    ]
    if code is None or any(function.__code__.co_freevars != code.co_freevars for function in functions):
        return False
    for function in functions:
        function.__code__ = code
    return bool(functions)


def _find_code(code: CodeType, change: Change) -> CodeType | None:
    inner = (constant for constant in code.co_consts if isinstance(constant, CodeType))
    if (code.co_qualname, code.co_firstlineno) == (change.function, change.first_line):
        return code
    return next((found for each in inner if (found := _find_code(each, change))), None)


if __name__ == "__main__":
    main()
