"""What W&B's client is called with, and what happens if it fails; the client is a stand-in."""

import json
import logging
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.stand_ins import import_again, put_modules

from nemotron.lineage import log_artifact, tracking
from nemotron.lineage.access import Target

TARGET = Target("sft", "team")


class Refused(Exception):
    """The client's error."""


class ClientArtifact:
    """An artifact of the client, with the files that were added."""

    def __init__(self, name, type, metadata):
        self.name, self.type, self.metadata, self.files = name, type, metadata, []

    def add_file(self, path, **options):
        self.files.append((path, options))

    def finalize(self):
        self.is_final = True


class ClientRun:
    """A run of the client; `calls` has what it was asked for."""

    def __init__(self, calls, options):
        self.id, self.dir, self.offline = options["id"], options["dir"] + "/wandb/run/files", False
        self.url, self.summary = "https://wandb.ai/run", {}
        self._calls = calls
        self._interface = SimpleNamespace(publish_artifact=self._publish)

    def _publish(self, run, artifact, aliases, tags, **options):
        assert run is self
        assert (aliases, tags, options) == ([], None, {"is_user_created": True, "use_after_commit": True})
        assert artifact.is_final
        self._calls.append(("used", artifact.name))

    def log_artifact(self, artifact, aliases):
        self._calls.append(("logged", artifact.name, aliases))

    def log(self, values, **options):
        self._calls.append(("curve", values, options))

    def mark_preempting(self):
        self._calls.append(("preempted",))

    def finish(self, exit_code):
        self._calls.append(("finished", exit_code))


class Client:
    """The wandb module; `refuses` is an error of the server, `calls` what was asked."""

    def __init__(self):
        self.calls, self.refuses, self.argv = [], None, []

    def init(self, **options):
        self.calls.append(("init", options))
        self.argv = [*sys.argv]
        if self.refuses and options["mode"] == "online":
            raise self.refuses
        return ClientRun(self.calls, options)

    def named(self, name):
        return [call[1:] for call in self.calls if call[0] == name]


@pytest.fixture
def client(monkeypatch):
    for name in ("WANDB_PROJECT", "WANDB_ENTITY", "WANDB_RUN_ID", "WORLD_SIZE", "WANDB_INIT_TIMEOUT"):
        monkeypatch.delenv(name, raising=False)
    client = Client()
    contents = {
        "init": client.init,
        "Settings": lambda **settings: settings,
        "Artifact": ClientArtifact,
        "Error": Refused,
        "teardown": lambda: client.calls.append(("teardown",)),
        "plot": "the client's",
    }
    put_modules(monkeypatch, {"wandb": contents})
    client.ours = import_again(monkeypatch, "nemotron.lineage.wandb")
    monkeypatch.setattr("nemotron.lineage.wandb", client.ours, raising=False)
    return client


@pytest.fixture
def opened(client, tmp_path):
    """A run, and the calls that it makes."""
    return client.ours.begin(TARGET, "abc", "online", folder=tmp_path, name="n", job_type="sft", config={"a": 1})


SETTINGS = {"console": "off", "silent": True, "init_timeout": 60.0, "finish_timeout": 300.0}


def test_a_run_is_opened_in_its_project_and_continued(client, opened, tmp_path):
    [(options,)] = client.named("init")
    assert options == {
        "project": "sft", "entity": "team", "id": "abc", "name": "n", "job_type": "sft", "dir": str(tmp_path),
        "config": {"a": 1}, "mode": "online", "resume": "allow", "settings": SETTINGS,
    }  # fmt: skip
    assert (opened.id, opened.target) == ("abc", TARGET)
    assert opened.where() == "https://wandb.ai/run"


@pytest.mark.parametrize("error", [Refused("no such entity"), ValueError("bad name")])
def test_a_run_that_the_server_refuses_is_recorded_offline(client, tmp_path, capsys, error):
    client.refuses = error
    client.ours.begin(TARGET, "abc", "online", folder=tmp_path, name="n", job_type="sft", config={})
    assert [call[0] for call in client.calls] == ["init", "teardown", "init"]
    last = client.named("init")[-1][0]
    assert (last["mode"], last["id"], "resume" in last) == ("offline", "abc", False)
    assert str(error) in capsys.readouterr().err


def test_a_run_may_be_offline_from_the_start(client, tmp_path):
    run = client.ours.begin(TARGET, "abc", "offline", folder=tmp_path, name="n", job_type="sft", config={})
    assert [options["mode"] for (options,) in client.named("init")] == ["offline"]
    run._run.offline = True
    assert run.where().startswith(f"recorded in {tmp_path}/wandb/run;")


def test_a_users_own_limit_stays(client, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "5")
    client.ours.begin(TARGET, "abc", "offline", folder=tmp_path, name="n", job_type="sft", config={})
    [(options,)] = client.named("init")
    assert options["settings"] == {key: value for key, value in SETTINGS.items() if key != "init_timeout"}


@pytest.mark.parametrize("argv", [["nemotron", "env_vars.HF_TOKEN=planted", "a=1"], ["nemotron"], []])
def test_the_client_never_sees_a_secret_of_the_command_line(client, tmp_path, monkeypatch, argv):
    monkeypatch.setattr(sys, "argv", argv)
    client.ours.begin(TARGET, "abc", "offline", folder=tmp_path, name="n", job_type="sft", config={})
    assert client.argv[:1] == argv[:1]
    assert client.argv[2:] == argv[2:]
    assert "planted" not in "".join(client.argv)
    assert sys.argv is argv


def test_curves_are_logged_and_do_not_end_the_run(client, opened):
    curves = opened.curves()
    curves.log({"loss": 1.5}, 3, commit=True)
    curves.finish()
    assert client.calls[1:] == [("curve", {"loss": 1.5}, {"step": 3, "commit": True})]
    assert curves.plot == "the client's"
    assert curves.run is opened._run


@pytest.mark.parametrize(
    ("stopped", "code", "ends"),
    [(False, 0, [("finished", 0)]), (True, 0, [("preempted",), ("finished", 1)]), (False, 3, [("finished", 3)])],
)
def test_a_run_ends_with_the_code_of_its_work(client, opened, stopped, code, ends):
    opened.summarize({"loss": 1}, stopped=stopped)
    opened.finish(code)
    assert opened._run.summary == {"loss": 1}
    assert client.calls[1:] == ends


@pytest.fixture
def artifacts(tmp_path):
    """Data, made from a file, and its record's folder."""
    (tmp_path / "data").mkdir()
    root = tmp_path / "artifacts"
    data = log_artifact(name="Data", type="dataset", path=tmp_path / "data", root=root, inputs=["/raw/chat data.jsonl"])
    return data, root


def test_what_is_logged_is_the_record_of_a_version(client, opened, artifacts, monkeypatch):
    data, root = artifacts
    logged = []
    monkeypatch.setattr(opened._run, "log_artifact", lambda artifact, aliases: logged.append((artifact, aliases)))
    opened.log(data, root, ["latest", "best"])
    [(artifact, aliases)] = logged
    assert aliases == ["latest", "record-v1", "best"]
    assert (artifact.name, artifact.type) == ("Data", "dataset")
    facts = {name: getattr(data, name) for name in ("path", "digest", "inputs", "code", "command", "job")}
    assert artifact.metadata == {**data.metadata, **facts}
    kept = {"name": "artifact.json", "policy": "immutable", "skip_cache": True}
    assert artifact.files == [(str(root / "Data/v1.json"), kept)]


def test_an_input_is_used_once_as_the_version_that_was_logged(client, opened, artifacts):
    _, root = artifacts
    opened.use(["Data:v1", "Data:v1"], root)
    opened.use(["Data:v1"], root)
    assert client.named("used") == [("Data",)]


def test_a_source_outside_has_its_name_and_digest(client, opened, artifacts, monkeypatch):
    _, root = artifacts
    used = []
    monkeypatch.setattr(opened, "_use", used.append)
    opened.use(["/raw/chat data.jsonl", "Data:v7", "hf://org/set"], root, {"hf://org/set": "d1"})
    assert [artifact.name for artifact in used] == ["raw-chat-data.jsonl", "Data-v7", "hf---org-set"]
    assert {artifact.type for artifact in used} == {"source"}
    assert [artifact.metadata for artifact in used] == [
        {"source": "/raw/chat data.jsonl"},
        {"source": "Data:v7"},  # not recorded here
        {"source": "hf://org/set", "digest": "d1"},
    ]
    [(path, options)] = used[2].files
    assert json.loads(Path(path).read_text()) == used[2].metadata
    assert (Path(path).parent, options["name"]) == (root / "wandb/sources", "source.json")


@pytest.mark.parametrize(
    ("reference", "name"), [("///", "source"), ("x" * 150, "x" * 100), ("a." + "-" * 99, "a"), ("." * 3 + "b", "b")]
)
def test_a_source_has_a_name_that_the_client_takes(client, reference, name):
    assert client.ours._outside_name(reference) == name


@pytest.fixture
def keep_open(client, tmp_path):
    """Opens a run through tracking, as training does."""

    def keep(target=TARGET, state=tmp_path / "wandb.json", config=None):
        return tracking.wandb_run(
            target, state=state, folder=tmp_path / "new", name="n", job_type="sft", config=config or {}
        )

    return keep


def test_a_run_is_open_inside_the_block_and_has_an_id_that_is_continued(client, keep_open, tmp_path, capsys):
    for _ in range(2):
        with keep_open(config={"api_key": "planted", "lr": 1}) as run:
            assert tracking._open is run
        assert tracking._open is None
    first, second = (options for (options,) in client.named("init"))
    assert first["id"] == second["id"] == json.loads((tmp_path / "wandb.json").read_text())["id"]
    assert len(first["id"]) == 8
    assert (first["config"]["lr"], "planted" in str(first)) == (1, False)
    assert (first["mode"], first["dir"]) == ("online", str(tmp_path / "new"))
    assert client.named("finished") == [(0,), (0,)]
    assert "https://wandb.ai/run" in capsys.readouterr().err


def test_a_run_of_another_project_is_not_continued(client, keep_open, tmp_path, monkeypatch):
    with keep_open():
        pass
    with keep_open(Target("other", "team")):
        pass
    with keep_open(Target("other", "others")):
        pass
    monkeypatch.setenv("WANDB_RUN_ID", "mine")
    with keep_open():
        pass
    ids = [options["id"] for (options,) in client.named("init")]
    assert len(set(ids)) == 4
    assert ids[-1] == "mine"


@pytest.mark.parametrize(
    ("target", "mode"),
    [
        (Target("sft", mode="offline"), "offline"),
        (Target("sft", unreachable="no answer"), "offline"),
        (Target("sft"), "online"),
    ],
)
def test_a_run_is_recorded_offline_where_no_server_answers(client, keep_open, target, mode):
    with keep_open(target):
        pass
    assert [options["mode"] for (options,) in client.named("init")] == [mode]


@pytest.mark.parametrize(
    ("error", "code"), [(SystemExit(3), 3), (SystemExit(), 0), (SystemExit("text"), 1), (RuntimeError(), 1)]
)
def test_a_run_ends_as_its_work_ends(client, keep_open, error, code):
    with pytest.raises(type(error)), keep_open():
        raise error
    assert client.named("finished") == [(code,)]
    assert tracking._open is None


def test_without_a_target_nothing_is_opened(client, keep_open):
    with keep_open(None) as run:
        assert run is None
    assert not client.calls


def test_a_client_that_fails_costs_a_line(client, keep_open, monkeypatch, caplog):
    monkeypatch.setattr(client.ours, "begin", lambda *_, **__: 1 / 0)
    with caplog.at_level(logging.WARNING), keep_open() as run:
        assert run is None
    assert "division by zero" in caplog.text


def test_the_end_of_work_is_summarized_in_the_open_run(client, keep_open):
    tracking.summarize({"loss": 0}, stopped=True)  # without one, nothing
    with keep_open() as run:
        tracking.summarize({"loss": 1}, stopped=True)
    assert run._run.summary == {"loss": 1}
    assert client.calls[1:] == [("preempted",), ("finished", 1)]


def test_an_artifact_of_a_run_is_recorded_with_what_it_was_made_from(client, keep_open, artifacts):
    data, root = artifacts
    with keep_open() as run:
        tracking.record(data, root, ["best"])
    assert client.named("used") == [("raw-chat-data.jsonl",)]
    assert client.named("logged") == [("Data", ["latest", "record-v1", "best"])]
    assert tracking.wandb_run_of(data, root) == f"team/sft/{run.id}"


def test_an_artifact_without_a_run_gets_one_of_its_own_once(client, artifacts, monkeypatch, caplog):
    data, root = artifacts
    monkeypatch.setattr(tracking, "ask_server", lambda target: Target(target.project, unreachable="no answer"))
    monkeypatch.setenv("WANDB_MODE", "online")
    tracking.record(data, root, [])
    assert not client.calls  # W&B is off
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            tracking.record(data, root, [], project="sft")
    [(options,)] = client.named("init")
    assert (options["name"], options["job_type"], options["dir"]) == ("Data-v1", "make-dataset", str(root))
    assert options["config"] == data.config
    assert [call[0] for call in client.calls[1:]] == ["used", "logged", "finished"]
    assert tracking.wandb_run_of(data, root) == f"sft/{options['id']}"
    assert caplog.text.count("no answer") == 1
    tracking.record(data, root, [], project="other")
    assert len(client.named("init")) == 2
    assert tracking.find_open_target("other", None, root, data) is None
    assert str(tracking.find_open_target("other", None, root, None)) == "other"  # what is still to be made


def test_an_artifact_of_a_rank_is_handed_over(client, artifacts, monkeypatch, tmp_path):
    data, root = artifacts
    monkeypatch.setattr(tracking, "_to_hand_over", [])
    tracking.hand_over(tmp_path)  # one rank records for itself
    assert not (tmp_path / ".recorded.json").exists()
    monkeypatch.setenv("WORLD_SIZE", "2")
    tracking.record(data, root, ["best"], project="sft")
    assert not client.calls
    tracking.hand_over(tmp_path)
    assert json.loads((tmp_path / ".recorded.json").read_text())["recorded"] == [[str(root), "Data", 1, ["best"]]]
    assert tracking._to_hand_over == []


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[1]", '"text"'),
        *('{"project": "a", "entity": "b"}', '{"id": 1, "project": "a"}', '{"id": 1, "entity": "b"}'),
    ],
)
def test_a_damaged_record_of_a_run_is_none(tmp_path, text):
    (tmp_path / "wandb.json").write_text(text)
    assert tracking.read_state(tmp_path / "wandb.json") == {}
    assert tracking.read_state(tmp_path / "missing.json") == {}


@pytest.mark.parametrize(
    ("target", "reason"), [(None, ""), (Target("sft", mode="offline"), ""), (Target("sft", unreachable="no"), "no")]
)
def test_a_project_that_cannot_be_asked_is_not(client, monkeypatch, target, reason):
    monkeypatch.setattr(tracking, "find_target", lambda: target)
    monkeypatch.setattr(tracking, "ask_server", lambda asked: asked)
    artifact, why = tracking.fetch("Data", "latest")
    assert artifact is None
    assert reason in why
    assert bool(why) is bool(reason)
