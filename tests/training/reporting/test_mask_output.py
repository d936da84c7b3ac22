"""What training prints, to the terminal or to its log, without secrets."""

import contextlib
import resource
import signal
import sys

from nemotron.training.reporting.mask_output import mask_output

SECRET = "hf_" + "a" * 34


@contextlib.contextmanager
def limit_file_size(size):
    """Let no file grow beyond a size, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


def test_output_is_masked_where_it_is_printed(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["sft", "env_vars.HF_TOKEN=planted", "a=1"])
    before = sys.stdout
    with mask_output(None):
        print(SECRET)
        print(SECRET, file=sys.stderr)
        assert sys.argv[0] == "sft"
        assert sys.argv[2] == "a=1"
        assert "planted" not in "".join(sys.argv)
    assert capsys.readouterr() == ("***\n", "***\n")
    assert sys.stdout is before
    assert sys.argv[1] == "env_vars.HF_TOKEN=planted"


def test_with_a_log_the_terminal_is_left_alone(capsys, tmp_path):
    log = tmp_path / "train.log"
    log.write_text("of an earlier run\n")
    with mask_output(log):
        print(f"token {SECRET}")
        print("a warning", file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
    assert capsys.readouterr() == ("", "")
    assert log.read_text() == "of an earlier run\ntoken ***\na warning\n"


def test_a_line_is_in_the_log_as_soon_as_it_is_printed(tmp_path):
    """Whoever follows a run reads the log; and a killed one leaves what it said last."""
    with mask_output(tmp_path / "train.log"):
        print("iteration 1")
        assert (tmp_path / "train.log").read_text() == "iteration 1\n"


def test_the_command_line_is_as_before_after_an_error(monkeypatch):
    argv = ["sft", "a=1"]
    monkeypatch.setattr(sys, "argv", argv)
    try:
        with mask_output(None):
            raise RuntimeError
    except RuntimeError:
        assert sys.argv is argv


def test_a_full_disk_loses_lines_of_the_log_and_nothing_else(tmp_path):
    """A line could otherwise end a run, or take the place of the error that says what to do."""
    log = tmp_path / "train.log"
    with mask_output(log):
        print("there was room")
        with limit_file_size(log.stat().st_size):
            print("lost")
    assert log.read_text() == "there was room\n"
