"""Which rank records a run in W&B, where, and what of its end."""

import contextlib
from pathlib import Path
from types import SimpleNamespace

import pytest

from nemotron.lineage import ArtifactError, tracking
from nemotron.lineage.access import Target
from nemotron.training.config import RunConfig, SftConfig
from nemotron.training.reporting import wandb_run as room
from nemotron.training.reporting.wandb_run import WandbRecord, find_wandb

TARGET = Target("sft")
RUN = SimpleNamespace(output=Path("out/hf_" + "a" * 34), checkpoints=Path("out/checkpoints"))


@pytest.fixture
def calls(monkeypatch):
    """What W&B is asked; this is the only rank, and the run has no model yet."""
    calls = []

    def find_open_target(*arguments):
        calls.append(("target", *arguments))
        return TARGET

    @contextlib.contextmanager
    def wandb_run(target, **options):
        calls.append(("opened", target, options))
        yield "the open run" if target else None

    def resolve(*arguments):
        raise ArtifactError("There is none.", "Make one.")

    monkeypatch.setattr(tracking, "find_open_target", find_open_target)
    monkeypatch.setattr(tracking, "wandb_run", wandb_run)
    monkeypatch.setattr(tracking, "summarize", lambda values, stopped: calls.append(("summary", values, stopped)))
    monkeypatch.setattr(room.lineage, "resolve", resolve)
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    return calls


def rank(monkeypatch, number, ranks=4):
    monkeypatch.setenv("RANK", str(number))
    monkeypatch.setenv("WORLD_SIZE", str(ranks))


CONFIG = SftConfig(
    run=RunConfig(artifacts="records"),
    logger={"wandb_project": "p", "wandb_entity": "e", "wandb_exp_name": "name", "wandb_save_dir": "wandb"},
)


def test_a_run_is_recorded_where_the_config_says(calls):
    assert find_wandb(CONFIG, RUN, has_work=True) == WandbRecord(TARGET, Path("wandb"), "name")
    assert calls == [("target", "p", "e", Path("records"), None)]


def test_a_run_that_says_nothing_is_named_after_its_folder_without_secrets(calls):
    record = find_wandb(SftConfig(), RUN, has_work=True)
    assert (record.folder, record.name) == (RUN.output, "***")


def test_a_finished_run_is_opened_again_only_for_a_model_that_is_not_recorded(calls, monkeypatch):
    find_wandb(CONFIG, RUN, has_work=False)
    assert calls[-1][-1] is None  # no model yet
    monkeypatch.setattr(room.lineage, "resolve", lambda *arguments: arguments)
    find_wandb(CONFIG, RUN, has_work=False)
    assert calls[-1][-1] == ("out/checkpoints", Path("records"))
    find_wandb(CONFIG, RUN, has_work=True)
    assert calls[-1][-1] is None


@pytest.mark.parametrize(("number", "asks", "opens"), [(0, True, False), (1, False, False), (3, True, True)])
def test_the_first_rank_asks_and_the_last_one_records(calls, monkeypatch, number, asks, opens):
    rank(monkeypatch, number)
    loaded = SimpleNamespace(config=CONFIG, tree={"a": 1})
    with room.wandb_run(loaded, RUN, has_work=True) as record:
        assert record.target == (TARGET if asks else None)
        assert record.opened == ("the open run" if opens else None)
    *asked, opened = calls
    assert len(asked) == (1 if asks else 0)
    state, folder = RUN.output / "wandb.json", Path("wandb")
    options = {"state": state, "folder": folder, "name": "name", "job_type": "sft", "config": {"a": 1}}
    assert opened == ("opened", TARGET if opens else None, options)


EVALUATED = {
    "validation": [{"token_loss": 9.0}, {"token_loss": 1.0, "sample_loss": 2.0}],
    "test": [{"sample_loss": 3.0, "token_loss": None, "iteration": 4}],
    "none": [],
}


def test_the_end_has_the_last_losses(calls):
    WandbRecord(TARGET, Path("f"), "n", "the open run").record_end(EVALUATED, stopped=True)
    losses = {"validation_token_loss": 1.0, "validation_sample_loss": 2.0, "test_sample_loss": 3.0}
    assert calls == [("summary", losses, True)]


def test_without_an_open_run_nothing_is_recorded(calls):
    WandbRecord(TARGET, Path("f"), "n").record_end(EVALUATED, stopped=False)
    assert calls == []


@pytest.mark.parametrize(
    ("target", "notes"), [(None, 0), (TARGET, 0), (Target("sft", unreachable="it does not answer"), 1)]
)
def test_a_server_that_cannot_be_reached_is_a_line(target, notes):
    lines = WandbRecord(target, Path("folder"), "n").describe()
    assert len(lines) == notes
    assert all("it does not answer" in line and "folder/wandb" in line for line in lines)
