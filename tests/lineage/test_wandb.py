"""Runs and artifacts in Weights & Biases, offline; what is not on disk, from a client that stands in for the real one.

The real client is imported in a fixture of the slow tests, because that takes seconds.
"""

import contextlib
import http.server
import json
import logging
import sys
import threading
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from nemotron import lineage
from nemotron.files.paths import config_dir
from nemotron.lineage import ArtifactError, log_artifact, resolve, tracking
from nemotron.lineage.access import Target

KEY = "0123456789" * 4


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Hide the account, the settings and the project of whoever runs the tests."""
    for name in ("WANDB_PROJECT", "WANDB_ENTITY", "WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_RUN_ID", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "wandb_config"))
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_MODE", "offline")


@pytest.fixture
def wandb(elsewhere):
    """The real client, which reads the environment once per process."""
    import wandb

    wandb.teardown()
    yield wandb
    wandb.teardown()


def read_run(path):
    """Everything that an offline run holds, as the client's own reader decodes it."""
    import wandb
    from wandb.proto import wandb_internal_pb2
    from wandb.sdk.internal.datastore import DataStore

    wandb.teardown()  # its writer process ends, so everything is in the file
    store = DataStore()
    store.open_for_scan(str(path))
    records = []
    while (data := store.scan_data()) is not None:
        record: Any = vars(wandb_internal_pb2)["Record"]()  # made when it is imported
        record.ParseFromString(data)
        records.append((record.WhichOneof("record_type"), record))
    return records


def artifacts_of(records):
    """(how, name, metadata) of the artifacts that a run used or logged."""
    found = [record.artifact for kind, record in records if kind == "artifact"]
    return [("used" if each.use_after_commit else "logged", each.name, json.loads(each.metadata)) for each in found]


def config_of(records):
    runs = [record.run for kind, record in records if kind == "run"]
    return {item.key: json.loads(item.value_json) for item in runs[0].config.update}


@pytest.fixture
def root(tmp_path):
    return tmp_path / "artifacts"


@pytest.fixture
def made(tmp_path, root):
    """Logs a data artifact and a model made from it."""

    def make(**options):
        for name in ("data", "model"):
            (tmp_path / name).mkdir(exist_ok=True)
        data = log_artifact(name="Data", type="dataset", path=tmp_path / "data", root=root, inputs=["/raw/chat.jsonl"])
        return log_artifact(name="Model", type="model", path=tmp_path / "model", root=root, inputs=[data], **options)

    return make


def test_without_a_project_wandb_is_not_even_imported(made, monkeypatch):
    monkeypatch.setitem(sys.modules, "nemotron.lineage.wandb", None)  # importing it would fail
    assert made().version == 1


@pytest.mark.slow
def test_one_run_has_the_curves_and_uses_and_logs_the_artifacts(wandb, made, tmp_path, root, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["nemotron", "super3", "sft", "env_vars.HF_TOKEN=planted-1", "optimizer.lr=1e-5"])
    config = {"optimizer": {"lr": 1e-5}, "env_vars": {"HF_TOKEN": "planted-2"}}
    with tracking.wandb_run(
        Target("sft", mode="offline"), state=tmp_path / "wandb.json", folder=tmp_path, name="tiny", job_type="sft",
        config=config,
    ) as run:  # fmt: skip
        assert run is not None
        curves = run.curves()
        curves.log({"lm loss": 1.5}, 1)
        curves.finish()  # the trainer's, which must not end the run
        made(metadata={"token_loss": 1.5})
    (path,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    records = read_run(path)
    assert config_of(records)["optimizer"] == {"lr": 1e-5}
    data, model = (resolve(name, root) for name in ("Data", "Model"))
    how = [(how, name) for how, name, _ in artifacts_of(records)]
    assert how == [("used", "raw-chat.jsonl"), ("logged", "Data"), ("used", "Data"), ("logged", "Model")]
    metadata = artifacts_of(records)[-1][2]
    assert (metadata["token_loss"], metadata["inputs"], metadata["digest"]) == (1.5, ["Data:v1"], model.digest)
    digests = {
        record.artifact.digest for kind, record in records if kind == "artifact" and record.artifact.name == "Data"
    }
    assert len(digests) == 1  # what was logged is what is used
    kept = [record.artifact for kind, record in records if kind == "artifact"]
    assert all(Path(file.local_path).is_file() for each in kept for file in each.manifest.contents)  # for a later sync
    assert [sorted(each.aliases) for each in kept] == [
        [],
        ["latest", "record-v1"],
        [],
        ["latest", "record-v1"],
    ]  # to be used makes nothing latest
    assert any(kind == "history" for kind, _ in records)
    assert b"planted" not in b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert tracking.wandb_run_of(data, root) == f"sft/{json.loads((tmp_path / 'wandb.json').read_text())['id']}"


@pytest.mark.slow
def test_a_resumed_job_continues_its_run(wandb, tmp_path):
    for _ in range(2):
        with tracking.wandb_run(
            Target("sft", mode="offline"), state=tmp_path / "wandb.json", folder=tmp_path, name="x", job_type="sft",
            config={},
        ):  # fmt: skip
            pass
        wandb.teardown()
    ids = {path.stem for path in tmp_path.glob("wandb/offline-run-*/*.wandb")}
    assert ids == {f"run-{json.loads((tmp_path / 'wandb.json').read_text())['id']}"}


@pytest.mark.slow
def test_what_is_made_outside_a_run_gets_a_run_of_its_own_once(wandb, made, root, monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "sft")
    made()
    made()
    runs = sorted(root.glob("wandb/offline-run-*/*.wandb"))
    assert len(runs) == 2  # the data's and the model's, not four
    assert artifacts_of(read_run(runs[1]))[0][:2] in (("used", "Data"), ("used", "raw-chat.jsonl"))


class Stalling(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        threading.Event().wait(3)


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stalling) as running:
        running.daemon_threads = True
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()


@pytest.mark.slow
@pytest.mark.parametrize("trouble", ["no key", "refuses", "stalls"])
def test_a_server_that_cannot_be_used_costs_a_line_and_the_run_is_kept(
    wandb, made, trouble, server, monkeypatch, caplog, root, tmp_path
):
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_PROJECT", "sft")
    monkeypatch.setenv("WANDB_BASE_URL", server if trouble == "stalls" else "http://127.0.0.1:9")
    monkeypatch.setattr("nemotron.lineage.access.ANSWER_SECONDS", 0.3)
    if trouble != "no key":
        monkeypatch.setenv("WANDB_API_KEY", KEY)
    with caplog.at_level(logging.WARNING):
        artifact = made()
    assert ("WANDB_API_KEY" if trouble == "no key" else "answer") in caplog.text
    assert KEY not in caplog.text
    assert resolve("Model", root) == artifact
    assert len(list(root.glob("wandb/offline-run-*/*.wandb"))) == 2
    assert KEY.encode() not in b"".join(path.read_bytes() for path in Path(root).rglob("*") if path.is_file())


def test_of_several_ranks_the_one_with_the_run_records(made, root, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "sft")
    monkeypatch.setenv("WORLD_SIZE", "2")
    made()
    assert not (root / "wandb").exists()
    tracking.hand_over(tmp_path)
    taken = []

    class OpenRun:
        id, target = "abc", Target("sft")

        def use(self, references, root, digests=None):
            taken.append(("used", references))

        def log(self, artifact, root, aliases):
            taken.append(("logged", artifact.reference))

        def keep(self, state, **more):
            pass

    monkeypatch.setattr(tracking, "_open", OpenRun())
    tracking.take_over(tmp_path)
    assert taken[2:] == [("used", ["Data:v1"]), ("logged", "Model:v1")]


@pytest.mark.parametrize(("ranks", "fails", "taken"), [("1", False, []), ("2", False, ["run"]), ("2", True, [])])
def test_a_run_takes_over_at_its_end_what_the_first_rank_made(tmp_path, monkeypatch, ranks, fails, taken):
    ended, taken_over = [], []
    opened = SimpleNamespace(finish=ended.append)
    monkeypatch.setenv("WORLD_SIZE", ranks)
    monkeypatch.setattr(tracking, "_begin", lambda *arguments: opened)
    monkeypatch.setattr(tracking, "take_over", lambda folder: taken_over.append(folder.name))
    run = tracking.wandb_run(
        Target("sft"), state=tmp_path / "run/wandb.json", folder=tmp_path, name="n", job_type="sft", config={}
    )
    with pytest.raises(RuntimeError) if fails else contextlib.nullcontext(), run:
        if fails:
            raise RuntimeError
    assert (ended, taken_over) == ([int(fails)], taken)


def test_what_an_earlier_launch_handed_over_is_not_recorded_again(made, tmp_path, monkeypatch):
    """Slurm starts a job again in the same folder."""
    monkeypatch.setenv("WANDB_PROJECT", "sft")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "0")
    made()
    tracking.hand_over(tmp_path)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    clock = SimpleNamespace(monotonic=iter([0, 1, 1e9]).__next__, sleep=lambda seconds: None)
    monkeypatch.setattr(tracking, "time", clock)
    monkeypatch.setattr(tracking, "_open", object())
    recorded = []
    monkeypatch.setattr(tracking, "record", lambda artifact, *_: recorded.append(artifact))
    tracking.take_over(tmp_path)
    assert recorded == []


class CommError(Exception):
    """What the client raises when there is no such artifact."""


@pytest.fixture
def project(made, root, tmp_path, monkeypatch):
    """A W&B project that has Model, of which this machine has no record; gives what its client is asked."""
    made(metadata={"iteration": 7, "model": str(config_dir() / "tiny_model")})
    record = (root / "Model" / "v1.json").rename(tmp_path / "record.json")
    asked = []

    class Api:
        default_entity = "team"

        def __init__(self, timeout):
            pass

        def artifact(self, reference):
            asked.append(reference)
            if reference not in ("team/sft/Model:latest", "team/sft/Model:record-v1"):
                raise CommError(f"artifact {reference} not found")
            entry = type("Entry", (), {"download": lambda self, root: str(record)})()
            return type("Found", (), {"get_entry": lambda self, name: entry})()

    client = ModuleType("wandb")
    vars(client).update(Api=Api, Error=CommError, Artifact=object)
    monkeypatch.setitem(sys.modules, "wandb", client)
    spec = find_spec("nemotron.lineage.wandb")
    ours = module_from_spec(spec)
    spec.loader.exec_module(ours)  # with this client
    monkeypatch.setitem(sys.modules, "nemotron.lineage.wandb", ours)
    monkeypatch.setattr(lineage, "wandb", ours, raising=False)
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_PROJECT", "sft")
    monkeypatch.setattr(tracking, "ask_server", lambda target: target)
    return asked


@pytest.mark.parametrize("reference", ["Model", "Model:latest", "Model:v1"])
def test_what_is_not_on_disk_is_looked_for_in_wandb_once(project, root, reference):
    assert resolve(reference, root).metadata == {"iteration": 7, "model": str(config_dir() / "tiny_model")}
    asked = len(project)
    assert resolve("Model:v1", root).reference == "Model:v1"
    assert len(project) == asked


@pytest.mark.parametrize(
    ("label", "asked"),
    [
        ("latest", ["latest"]),
        ("v3", ["record-v3", "v3"]),  # our number, else W&B's
        ("vtwo", ["vtwo"]),
        ("3", ["3"]),
    ],
)
def test_a_version_is_ours_or_else_that_of_wandb(project, label, asked):
    from nemotron.lineage import wandb

    for entity, path in ((None, "team/sft"), ("mine", "mine/sft")):
        project.clear()
        with contextlib.suppress(CommError):
            wandb.fetch("Model", label, Target("sft", entity))
        assert project == [f"{path}/Model:{each}" for each in asked]


def test_what_wandb_does_not_have_either_is_said(project, root):
    with pytest.raises(ArtifactError) as caught:
        resolve("Model:nightly", root, hint="Make it.")
    assert "team/sft/Model:nightly" in caught.value.hint
    assert "Make it." in caught.value.hint


def test_a_folder_that_only_another_machine_has_is_named(project, root, tmp_path):
    (tmp_path / "model").rename(tmp_path / "elsewhere")
    with pytest.raises(ArtifactError) as caught:
        resolve("Model", root)
    assert f"{tmp_path}/model" in caught.value.message
    assert not (root / "Model/v1.json").exists()


@pytest.mark.parametrize(
    ("target", "mode"),
    [
        (Target("mine"), "online"),
        (Target("mine", mode="offline"), "offline"),
        (Target("mine", unreachable="there is no network"), "offline"),
    ],
)
def test_a_run_that_cannot_be_sent_is_recorded_offline_in_a_folder_of_its_own(tmp_path, monkeypatch, target, mode):
    begun, kept = [], []
    run = SimpleNamespace(keep=kept.append, where=lambda: "there")

    def begin(target, number, mode, *, folder, **options):
        begun.append((target, mode, folder.is_dir(), options))
        return run

    monkeypatch.setattr(lineage, "wandb", SimpleNamespace(begin=begin), raising=False)
    folder, state = tmp_path / "new" / "wandb", tmp_path / "wandb.json"
    assert tracking._begin(target, state, folder, "a run", "sft", {"a": 1}) is run
    assert begun == [(target, mode, True, {"name": "a run", "job_type": "sft", "config": {"a": 1}})]
    assert kept == [state]
