"""Run chat templates in a sandbox with the functions that transformers provides."""

import contextlib
import ctypes
import json
import multiprocessing
import os
import resource
import secrets
import shlex
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NoReturn

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from nemotron.data_prep.drop_reasons import DropReason, RowError
from nemotron.errors import UserError
from nemotron.printable import printable

# The output of a {% generation %} block is wrapped in these, so that it is found in the rendered text wherever the
# template puts it. They have a nonce, so that no conversation can forge them.
_NONCE = secrets.token_hex(8)
BLOCK_BEGIN = f"\x02{_NONCE}\x02"
BLOCK_END = f"\x03{_NONCE}\x03"


SECONDS = 10.0
"""CPU time that a template may take for one conversation, over all renderings."""
PROBE_SECONDS = 3.0
"""CPU time that it may take to be compiled, or for a conversation of our own, which is short."""
MOST_GREEDY = 3
"""As many conversations in a row that exceed a limit end the run: the template is to blame, not they."""
MOST_CHARACTERS = 200_000_000
"""Characters that it may render for one conversation, over all renderings."""
MEMORY = 4 * 2**30
"""Memory that it may take in addition to what the process has, in bytes."""
LARGEST_POWER = 1024
"""Larger exponents keep the interpreter busy where a timer cannot interrupt it."""


class LimitExceeded(Exception):
    """A template uses more of a resource than any chat template needs."""


class _Budget:
    """What the current conversation may still use."""

    characters: int | None = None
    """None without a conversation."""
    greedy = 0
    """Conversations before it, in a row, that exceeded a limit."""


@contextlib.contextmanager
def limit_resources(name: str, seconds: float | None = None) -> Iterator[None]:
    """Limit a template's CPU time, memory and output within a `with` block.

    Nested blocks share the limits. Time is limited only in the main thread, where work runs.

    Args:
        name: The template's name, for the message.
        seconds: The CPU time; by default that of a conversation.

    Raises:
        RowError: template_error; raised by the outermost block, so that nothing inside tries again.
        UserError: The template exceeds a limit in one conversation after the other.
    """
    if _Budget.characters is not None:
        yield
        return
    seconds = SECONDS if seconds is None else seconds
    _Budget.characters = MOST_CHARACTERS
    try:
        with _limit_time(name, seconds), _limit_memory():
            yield
        _Budget.greedy = 0
    except LimitExceeded as error:
        raise _refuse(f"{name} {error}") from None
    except MemoryError:
        raise _refuse(f"{name} takes more than {MEMORY >> 30} GiB of memory for one conversation") from None
    finally:
        _Budget.characters = None


def _refuse(problem: str) -> RowError | UserError:
    _Budget.greedy += 1
    if _Budget.greedy < MOST_GREEDY:
        return RowError(DropReason.TEMPLATE_ERROR, problem)
    return UserError(f"The chat template {problem}, {MOST_GREEDY} times in a row.", "Use another template.")


def count_rendered(text: str) -> None:
    """Count rendered text.

    Raises:
        LimitExceeded: A conversation has too much of it.
    """
    if _Budget.characters is not None:
        _Budget.characters -= len(text)
        if _Budget.characters < 0:
            raise LimitExceeded(f"renders more than {MOST_CHARACTERS:,} characters for one conversation")


@contextlib.contextmanager
def _limit_time(name: str, seconds: float) -> Iterator[None]:
    """Raise LimitExceeded after so many seconds of CPU time.

    Some things that a template can do, such as comparing lists of lists of lists, run to their end before Python looks
    at signals. After twice the time the process says so and ends; after three times, the system ends it: SIGVTALRM has
    no handler.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_signal: int, _frame: FrameType | None) -> NoReturn:
        raise LimitExceeded(f"takes more than {seconds:g} s for one conversation")

    last_words = _LastWords.of_process(name)
    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)  # also counts what the system does for it, such as finding memory
    last_words.after(2 * seconds)
    signal.setitimer(signal.ITIMER_VIRTUAL, 3 * seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        last_words.after(0)
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGPROF, before)


class _SigEvent(ctypes.Structure):
    """struct sigevent of glibc, to call a function in a thread of its own."""

    _fields_ = (
        ("value", ctypes.c_char_p),
        ("signal", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("function", ctypes.c_void_p),
        ("rest", ctypes.c_byte * 40),
    )


class _LastWords:
    """A timer after which the C library says why this process ends, and ends it.

    Python could not: it is busy. The time is that of ITIMER_VIRTUAL. Workers have none: the first process says why they
    ended. Nor has the process that they are forked from, because the timer would start a thread there.
    """

    _SIGEV_THREAD = 2
    _USER_TIME = -7
    """The clock of ITIMER_VIRTUAL: CPUCLOCK_VIRT of this process (linux/posix-timers.h)."""
    _are_wanted = True
    _latest: "tuple[int, str, _LastWords] | None" = None

    @classmethod
    def of_process(cls, name: str) -> "_LastWords":
        """Return the timer of this process for a template; timers are not inherited."""
        if cls._latest is None or cls._latest[:2] != (os.getpid(), name):
            cls._latest = os.getpid(), name, cls(name)
        return cls._latest[2]

    def __init__(self, name: str) -> None:
        self._timer: ctypes.c_void_p | None = None
        if multiprocessing.parent_process() is not None or not self._are_wanted:
            return
        problem = f"error: The chat template {name} works on one conversation without an end: it cannot be interrupted."
        lines = shlex.join([printable(problem, one_line=True), "hint: Use another template; finished work is kept."])
        command = f"printf '%s\\n' {lines} >&2; kill -s VTALRM {os.getpid()}"
        try:
            library = ctypes.CDLL(None)
            system = ctypes.cast(library.system, ctypes.c_void_p)
            self._event = _SigEvent(command.encode(errors="replace"), 0, self._SIGEV_THREAD, system)
            timer = ctypes.c_void_p()
            if library.timer_create(self._USER_TIME, ctypes.byref(self._event), ctypes.byref(timer)) == 0:
                self._timer, self._set = timer, library.timer_settime
        except (AttributeError, OSError):  # another C library
            return

    def after(self, seconds: float) -> None:
        """Start the timer; 0 stops it."""
        if self._timer is not None:
            whole, rest = divmod(round(seconds * 10**9), 10**9)
            self._set(self._timer, 0, (ctypes.c_long * 4)(0, 0, whole, rest), None)


def start_no_thread() -> None:
    """Make no timers in this process, because other processes are forked from it."""
    _LastWords._are_wanted = False


@contextlib.contextmanager
def _limit_memory() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    try:
        with open("/proc/self/statm", "rb") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
    except OSError:  # the file exists only on Linux
        yield
        return
    most = min([used + MEMORY, *(limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY)])
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


class _Sandbox(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset(["**"])

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if isinstance(right, int) and abs(right) > LARGEST_POWER:
            raise LimitExceeded(f"raises a number to the power {right}")
        return super().call_binop(context, operator, left, right)


class GenerationBlocks(Extension):
    """The block `{% generation %} ... {% endgeneration %}`, as in transformers.

    Templates mark with it what an assistant wrote.
    """

    tags = {"generation"}  # noqa: RUF012 (Jinja's API)

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_mark"), [], [], body).set_lineno(line)

    def _mark(self, caller: Callable[[], str]) -> str:
        return BLOCK_BEGIN + caller() + BLOCK_END


def make_environment() -> ImmutableSandboxedEnvironment:
    """Make a sandbox that runs any chat template for transformers.

    It has the same whitespace rules, filters and functions, except for those that choose at random: a row must render
    the same every time. `strftime_now` is a variable of each rendering instead, because the moment is set for a run.
    """
    environment = _Sandbox(trim_blocks=True, lstrip_blocks=True, extensions=[GenerationBlocks, loopcontrols])
    environment.filters["tojson"] = _to_json
    del environment.filters["random"], environment.globals["lipsum"]
    environment.globals["raise_exception"] = _raise_exception
    return environment


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Return a value as JSON without escaping HTML characters, unlike Jinja's filter."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: str) -> NoReturn:
    raise TemplateError(message)
