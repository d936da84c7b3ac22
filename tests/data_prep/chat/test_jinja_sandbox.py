"""A greedy template costs its row, or is refused, and ends no process."""

import contextlib
import ctypes
import json
import multiprocessing
import os
import resource
import shlex
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from nemotron.data_prep.chat import jinja_sandbox
from nemotron.data_prep.chat.chunks import sequences
from nemotron.data_prep.chat.conversation import Conversation
from nemotron.data_prep.chat.template import Template
from nemotron.data_prep.drop_reasons import DropReason, RowError
from nemotron.errors import UserError

HI = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
COUNTS = "{% set r = range(99999) %}{% for a in r %}{% for b in r %}{% endfor %}{% endfor %}"
DOUBLES = "{% set d = namespace(s='x') %}{% for _ in range(40) %}{% set d.s = d.s ~ d.s %}{% endfor %}"
PRINTS = "{% for _ in range(99999) %}{{ 'x' * 9999 }}{% endfor %}"


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jinja_sandbox, "SECONDS", 0.2)
    monkeypatch.setattr(jinja_sandbox, "MOST_CHARACTERS", 1_000_000)
    monkeypatch.setattr(jinja_sandbox, "MEMORY", 2**30)
    monkeypatch.setattr(jinja_sandbox._Budget, "greedy", 0)


@pytest.mark.parametrize(
    ("greedy", "limit"),
    [
        (COUNTS, "0.2 s"),
        (DOUBLES, "GiB|0.2 s"),
        (PRINTS, "1,000,000 characters|0.2 s"),
        ("{{ n ** (10 ** 10) }}", "power"),
    ],
)
@pytest.mark.slow
@pytest.mark.usefixtures("small_limits")
def test_a_greedy_template_costs_the_row(greedy: str, limit: str):
    template = Template("greedy.jinja", "{% set n = messages | length %}" + greedy)

    with pytest.raises(RowError, match=f"greedy.jinja .*({limit})") as caught:
        sequences(Conversation(HI), template)
    assert caught.value.reason == DropReason.TEMPLATE_ERROR
    with pytest.raises(RowError, match=r"greedy\.jinja"):
        template.render(HI, None)


@pytest.mark.usefixtures("small_limits")
def test_constants_are_limited_where_they_are_computed():
    with pytest.raises((UserError, RowError), match=r"greedy\.jinja"):
        Template("greedy.jinja", "{{ 'x' * 20000000000 }}").render(HI, None)


def test_a_conversation_may_have_as_many_characters_as_the_limit(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(jinja_sandbox._Budget, "characters", 5)
    jinja_sandbox.count_rendered("123")
    jinja_sandbox.count_rendered("45")
    with pytest.raises(jinja_sandbox.LimitExceeded):
        jinja_sandbox.count_rendered("6")
    monkeypatch.setattr(jinja_sandbox._Budget, "characters", None)
    jinja_sandbox.count_rendered("not counted")


@pytest.mark.usefixtures("small_limits")
def test_the_limits_are_a_conversations_and_gone_after_it():
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    template = Template("t.jinja", "{% for m in messages %}{{ m.content }};{% endfor %}")
    before = resource.getrlimit(resource.RLIMIT_AS)

    for _ in range(3):  # 600,000 characters each
        sequences(Conversation([HI[0], {"role": "assistant", "content": "x" * 200_000}]), template)

    assert resource.getrlimit(resource.RLIMIT_AS) == before
    assert signal.getsignal(signal.SIGPROF) == signal.SIG_DFL
    assert [signal.getitimer(timer)[0] for timer in (signal.ITIMER_PROF, signal.ITIMER_VIRTUAL)] == [0, 0]


def test_all_renderings_of_a_conversation_share_its_limit(monkeypatch: pytest.MonkeyPatch):
    """Each turn is rendered with all that precedes it: ten short renderings are one long one."""
    monkeypatch.setattr(jinja_sandbox, "MOST_CHARACTERS", 5_000)
    template = Template("t.jinja", "{% for m in messages %}{{ m.content }};{% endfor %}")
    said = [{"role": role, "content": "x" * 100} for _ in range(10) for role in ("user", "assistant")]

    assert len(template.render(said, None)) == 2_020  # far below the limit
    with pytest.raises(RowError, match="5,000 characters") as caught:
        sequences(Conversation(said), template)
    assert caught.value.reason == DropReason.TEMPLATE_ERROR


@pytest.mark.parametrize(("power", "is_refused"), [(1024, False), (1025, True), (-1025, True), (0.5, False)])
def test_powers_are_limited_before_they_are_computed(power: float, is_refused: bool):
    template = Template("power.jinja", f"{{% set n = messages | length %}}{{{{ n ** ({power}) }}}}")
    if is_refused:
        with pytest.raises(RowError, match=rf"power\.jinja raises a number to the power {power}"):
            template.render(HI, None)
    else:
        assert template.render(HI, None) == str(2**power)


@pytest.mark.usefixtures("small_limits")
def test_time_that_the_system_spends_for_a_template_counts(monkeypatch: pytest.MonkeyPatch):
    """Most of it: finding memory for texts that are thrown away."""
    monkeypatch.setattr(jinja_sandbox, "SECONDS", 0.05)
    allocates = "{% set n = messages | length %}{% for _ in range(99999) %}{% set x = 'x' * (n * 10**8) %}{% endfor %}"
    with pytest.raises(RowError, match=r"0\.05 s"):
        Template("greedy.jinja", allocates).render(HI, None)


@pytest.mark.usefixtures("small_limits")
def test_a_template_that_is_greedy_again_and_again_ends_the_run(monkeypatch: pytest.MonkeyPatch):
    """Otherwise each of a million rows takes the time that one may take."""
    monkeypatch.setattr(jinja_sandbox, "MOST_CHARACTERS", 100)
    template = Template("greedy.jinja", "{% for m in messages %}{{ m.content }}{% endfor %}")
    long = [{"role": "user", "content": "x" * 200}]
    for messages, error in ((long, RowError), (long, RowError), (HI, None), (long, RowError), (long, RowError)):
        if error is None:
            template.render(messages, None)
        else:
            with pytest.raises(error, match="100 characters"):
                template.render(messages, None)
    with pytest.raises(UserError, match=r"greedy\.jinja renders .* 3 times in a row"):
        template.render(long, None)


@pytest.mark.slow
def test_what_python_cannot_interrupt_the_system_ends():
    """Comparing two lists of lists takes 2**60 steps, between which no signal is looked at."""
    grow = "{% for _ in range(60) %}{% set d.x = [d.x, d.x] %}{% set d.y = [d.y, d.y] %}{% endfor %}"
    source = "{% set d = namespace(x=[messages], y=[messages]) %}" + grow + "{{ d.x == d.y }}"
    code = (
        "from nemotron.data_prep.chat import jinja_sandbox\njinja_sandbox.SECONDS = 0.1\n"
        "from nemotron.data_prep.chat.template import Template\n"
        f"Template(\"'end' $(less).jinja\", {source!r}).render([{{}}], None)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == -signal.SIGVTALRM
    assert done.stderr.startswith("error: The chat template 'end' $(less).jinja works on one conversation")
    assert done.stderr.count("\n") == 2


def test_what_looks_at_no_signal_is_ended_by_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    timers = []
    monkeypatch.setattr(signal, "setitimer", lambda which, seconds: timers.append((which, seconds)))
    with jinja_sandbox._limit_time("t.jinja", 3):
        assert timers == [(signal.ITIMER_PROF, 3), (signal.ITIMER_VIRTUAL, 9)]
    assert timers[2:] == [(signal.ITIMER_PROF, 0), (signal.ITIMER_VIRTUAL, 0)]


def test_after_twice_the_time_the_process_says_why_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[float] = []
    words = SimpleNamespace(after=started.append)
    monkeypatch.setattr(jinja_sandbox._LastWords, "of_process", lambda name: words)
    with jinja_sandbox._limit_time("t.jinja", 3):
        assert started == [6]
    assert started == [6, 0]


def test_the_timer_of_the_last_words_counts_seconds_and_nanoseconds() -> None:
    set_to: list[Any] = []
    words = jinja_sandbox._LastWords("t.jinja")
    words._timer, words._set = "a timer", lambda timer, flags, times, old: set_to.append((timer, flags, [*times], old))
    words.after(2.25)
    words.after(0)
    assert set_to == [("a timer", 0, [0, 0, 2, 250_000_000], None), ("a timer", 0, [0, 0, 0, 0], None)]


@pytest.mark.parametrize("result", [0, -1])
def test_the_last_words_are_a_command_of_the_shell(monkeypatch: pytest.MonkeyPatch, result: int) -> None:
    """It runs in a thread that the C library starts; without a timer there are none."""
    created: list[tuple[int, Any]] = []

    def create(clock: int, event: Any, timer: Any) -> int:
        created.append((clock, event._obj))
        return result

    library = SimpleNamespace(system=ctypes.CDLL(None).system, timer_create=create, timer_settime="set")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    monkeypatch.setattr(jinja_sandbox._LastWords, "_are_wanted", True)  # whatever a test before has preloaded
    words = jinja_sandbox._LastWords("my\n\udcff.jinja")
    [(clock, event)] = created
    assert (clock, event.signal, event.notify) == (-7, 0, 2)
    _, form, problem, hint, _, kill, *signal_of = shlex.split(event.value.decode())
    assert form == r"%s\n"
    assert problem.startswith("error: The chat template my\\n")
    assert hint.startswith("hint: Use another template")
    assert (kill, signal_of) == ("kill", ["-s", "VTALRM", str(os.getpid())])
    assert (words._timer is not None) == (result == 0)


def test_without_timers_in_the_c_library_there_are_no_last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (AttributeError, OSError):
        monkeypatch.setattr(ctypes, "CDLL", lambda name, error=error: (_ for _ in ()).throw(error))
        assert jinja_sandbox._LastWords("t.jinja")._timer is None


def test_where_processes_are_forked_there_are_no_last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(ctypes, "CDLL", asked.append)
    monkeypatch.setattr(jinja_sandbox._LastWords, "_are_wanted", True)
    with monkeypatch.context() as worker:
        worker.setattr(multiprocessing, "parent_process", lambda: "the first")
        assert jinja_sandbox._LastWords("t.jinja")._timer is None
    jinja_sandbox.start_no_thread()
    assert jinja_sandbox._LastWords("t.jinja")._timer is None
    assert asked == []


def test_a_process_has_one_timer_for_a_template(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jinja_sandbox._LastWords, "_latest", None)
    of_process = jinja_sandbox._LastWords.of_process
    one = of_process("one.jinja")
    assert of_process("one.jinja") is one
    assert of_process("other.jinja") is not one
    other = of_process("other.jinja")
    monkeypatch.setattr(os, "getpid", lambda: 7)
    assert of_process("other.jinja") is not other


def test_memory_that_runs_out_costs_the_row() -> None:
    with pytest.raises(RowError, match="t takes more than 4 GiB"), jinja_sandbox.limit_resources("t"):
        raise MemoryError


def test_a_limit_of_its_own_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[float] = []
    monkeypatch.setattr(
        jinja_sandbox, "_limit_time", lambda name, seconds: limits.append(seconds) or contextlib.nullcontext()
    )
    for seconds in (None, 7):
        with jinja_sandbox.limit_resources("t", seconds):
            """Nothing is rendered."""
    assert limits == [jinja_sandbox.SECONDS, 7]


def test_in_a_thread_only_the_time_is_not_limited() -> None:
    """Only the main thread can have a handler of signals."""
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(Template("t", "{{ messages[0].content }}").render, HI, None).result() == HI[0]["content"]


NO_LIMIT = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("soft", "hard", "is_tighter"), [(NO_LIMIT, NO_LIMIT, False), (10, NO_LIMIT, True), (NO_LIMIT, 10, True)]
)
def test_a_tighter_limit_of_memory_stays(monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, is_tighter: bool):
    limits = []
    monkeypatch.setattr(resource, "getrlimit", lambda which: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda which, limit: limits.append(limit))
    with jinja_sandbox._limit_memory():
        [(most, still)] = limits
        assert (most == 10) is is_tighter
        assert is_tighter or most > jinja_sandbox.MEMORY
        assert still == hard
    assert limits[1:] == [(soft, hard)]


@pytest.mark.parametrize(
    ("written", "options"),
    [
        ("", {}),
        ("indent=2", {"indent": 2}),
        ("sort_keys=true", {"sort_keys": True}),
        ("ensure_ascii=true", {"ensure_ascii": True}),
        ("separators=(',', ':')", {"separators": (",", ":")}),
    ],
)
def test_tojson_takes_the_options_that_transformers_has(written: str, options: dict[str, Any]) -> None:
    value = {"b": ["é", None], "a": 1}
    template = Template("t", f"{{{{ messages[0] | tojson({written}) }}}}")
    assert template.render([value], None) == json.dumps(value, **{"ensure_ascii": False, **options})
