"""A model to start from: what may be imported, and what is recorded of it. The conversion itself is replaced."""

import inspect
import json
from pathlib import Path

import pytest
from tests.stand_ins import put_modules
from tests.training.checkpoints.made_up import write_checkpoint

import nemotron.training.weights.pretrained
from nemotron.errors import UserError
from nemotron.lineage import MANIFEST, resolve
from nemotron.training.weights.pretrained import _is_made_from, import_model
from nemotron.training.weights.source import find_source


@pytest.fixture
def converted(monkeypatch):
    """What was converted, as (source, checkpoint, mtp)."""
    calls = []

    def import_hf(folder, out, *, mtp):
        write_checkpoint(Path(out), 0)
        calls.append((folder, out, mtp))

    monkeypatch.setattr(nemotron.training.weights.pretrained, "import_hf", import_hf)
    return calls


@pytest.fixture
def hf_folder(tmp_path):
    folder = tmp_path / "super-hf"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def pretrained(source, output, tmp_path, **options):
    return import_model(source, output, name="ModelArtifact-pretrain", artifacts=tmp_path / "artifacts", **options)


def test_a_hugging_face_folder_becomes_a_checkpoint_and_an_artifact(converted, hf_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    imported = pretrained(find_source("super-hf"), None, tmp_path)
    assert imported.checkpoint == tmp_path / "output/models/super-hf"
    artifact = resolve("ModelArtifact-pretrain", tmp_path / "artifacts")
    assert (artifact.version, artifact.path, artifact.inputs) == (1, str(imported.checkpoint), [str(hf_folder)])
    assert artifact.metadata["source"] == artifact.metadata["hf_model"] == str(hf_folder)
    assert artifact.metadata["source_digest"].startswith("sha256:")
    assert artifact.input_digests == {str(hf_folder): artifact.metadata["source_digest"]}
    assert (artifact.metadata["revision"], artifact.metadata["mtp"]) == (None, True)
    assert "megatron-bridge" in artifact.metadata["converted_with"]
    assert artifact.code["package"].startswith("nemotron")
    assert artifact.digest.startswith("sha256:")


def test_the_same_import_again_converts_nothing_and_another_overwrites_nothing(converted, hf_folder, tmp_path):
    first = pretrained(find_source(str(hf_folder)), tmp_path / "out", tmp_path)
    again = pretrained(find_source(str(hf_folder)), tmp_path / "out", tmp_path)
    assert (first.was_there, again.was_there, len(converted)) == (False, True, 1)
    assert again.artifact.reference == "ModelArtifact-pretrain:v1"
    (hf_folder / "model.safetensors").write_bytes(b"others!")
    assert not pretrained(find_source(str(hf_folder)), tmp_path / "new", tmp_path).was_there
    assert len(converted) == 2


@pytest.mark.parametrize(
    "record", [None, "", "{", "[]", "{}", '{"metadata": 5}', '{"metadata": {}}', "[" * 100_000, b"\xff"], ids=range(9)
)
def test_a_folder_whose_record_is_damaged_was_made_by_nobody(tmp_path, record):
    if record is not None:
        (tmp_path / MANIFEST).write_bytes(record if isinstance(record, bytes) else record.encode())
    facts = {"source": "hf", "source_digest": "sha256:1", "mtp": True}
    assert not _is_made_from(tmp_path, facts)
    (tmp_path / MANIFEST).write_text(json.dumps({"metadata": {**facts, "more": 1}}))
    assert _is_made_from(tmp_path, facts)
    for name in facts:
        assert not _is_made_from(tmp_path, {**facts, name: "other"})


def test_a_model_without_multi_token_prediction_is_another_import(converted, hf_folder, tmp_path):
    for mtp, was_there in ((True, False), (False, False), (False, True)):
        assert pretrained(find_source(str(hf_folder)), tmp_path / "out", tmp_path, mtp=mtp).was_there is was_there
    assert [mtp for _, _, mtp in converted] == [True, False]


@pytest.mark.parametrize("named", ["run", "run/checkpoints", "run/checkpoints/iter_0000040"])
def test_a_megatron_checkpoint_is_registered_where_it_is(converted, tmp_path, named):
    iteration = write_checkpoint(tmp_path / "run/checkpoints", 40, {"model": {"mtp_num_layers": 2}})
    source = find_source(str(tmp_path / named))
    assert (source.is_megatron, source.folder) == (True, iteration)
    imported = pretrained(source, None, tmp_path)
    assert imported.checkpoint == iteration
    assert imported.artifact.metadata["source"] == str(iteration)
    assert pretrained(find_source(str(tmp_path / named)), None, tmp_path).artifact.version == 1
    assert not converted
    with pytest.raises(UserError, match=str(iteration)):
        pretrained(source, tmp_path / "out", tmp_path)


def test_adapters_and_checkpoints_without_mtp_are_no_start(tmp_path):
    write_checkpoint(tmp_path / "adapters", 40, {"peft": {"dim": 8}})
    with pytest.raises(UserError, match="adapters"):
        find_source(str(tmp_path / "adapters"))
    write_checkpoint(tmp_path / "main", 40, {"model": {"mtp_num_layers": None, "hidden_size": 8}})
    with pytest.raises(UserError, match="multi-token prediction"):
        find_source(str(tmp_path / "main"))
    assert find_source(str(tmp_path / "main"), mtp=False).is_megatron


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("/nowhere/model", "does not exist"),
        ("model", "does not exist"),
        ("./nowhere/model", "does not exist"),
        (".nowhere/model", "does not exist"),
        ("org/", "does not exist"),
        ("org/name/folder", "does not exist"),
        ("empty", "is not a model"),
        ("config_only", "is not a model"),
        ("cut_off", "was cut short"),
        ("file", "is not a model"),
    ],
)
def test_what_is_no_model_is_refused_by_name(tmp_path, monkeypatch, given, said):
    monkeypatch.chdir(tmp_path)
    for folder in ("empty", "config_only", "cut_off"):
        (tmp_path / folder).mkdir()
    (tmp_path / "config_only/config.json").write_text("{}")
    (tmp_path / "cut_off/iter_0000040").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=said) as error:
        find_source(given)
    assert given in error.value.message
    assert error.value.hint


def test_a_revision_is_of_the_hub(hf_folder):
    with pytest.raises(UserError, match="--revision main"):
        find_source(str(hf_folder), "main")


def test_a_model_of_the_hub_is_downloaded_and_recorded_with_its_commit(converted, tmp_path, monkeypatch):
    import huggingface_hub

    monkeypatch.chdir(tmp_path)
    snapshot = tmp_path / "cache/snapshots/0123abcd"
    snapshot.mkdir(parents=True)
    asked = []

    def download(model, *, revision, allow_patterns):
        asked.append((model, revision))
        return str(snapshot)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    imported = pretrained(find_source("someone/super", "v1"), None, tmp_path)
    assert asked == [("someone/super", "v1")]
    assert imported.checkpoint == tmp_path / "output/models/super"
    metadata = imported.artifact.metadata
    assert metadata["source"] == imported.artifact.inputs[0] == "hf://someone/super@0123abcd"
    assert (metadata["revision"], metadata["hf_model"]) == ("0123abcd", "someone/super")


def test_why_the_hub_has_no_such_model_is_said(monkeypatch):
    import httpx
    import huggingface_hub
    from huggingface_hub import errors

    answer = httpx.Response(404, request=httpx.Request("GET", "https://hub"))
    for error, said in (
        (errors.RepositoryNotFoundError("no", response=answer), "does not exist on the hub"),
        (errors.RevisionNotFoundError("no", response=answer), "no revision v9"),
        (errors.GatedRepoError("no", response=answer), "is gated"),
        (OSError("no route"), "cannot be read from the hub: no route"),
        (errors.LocalEntryNotFoundError("offline"), "cannot be read from the hub: offline"),
        (ConnectionError("refused"), "cannot be read from the hub: refused"),
    ):

        def fail(*args, error=error, **options):
            raise error

        monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
        with pytest.raises(UserError, match=said) as caught:
            find_source("someone/super", "v9")
        assert caught.value.hint


def test_the_default_config_names_the_artifacts_that_imports_make():
    from nemotron.cli.super3.data.import_ import PREPARED
    from nemotron.cli.super3.model.import_ import import_
    from nemotron.config import load_config
    from nemotron.training.checkpoints.initial_weights import PRETRAINED
    from nemotron.training.config import SftConfig

    config = load_config("default", schema=SftConfig).config
    assert config.run.model == f"{PRETRAINED}:latest"
    assert config.run.data == f"{PREPARED}:latest"
    assert inspect.signature(import_).parameters["name"].default == PRETRAINED


@pytest.mark.parametrize(
    "name",
    [
        *("iter_0000004", "latest_checkpointed_iteration.txt", "latest_train_state.pt", "checkpoints/iter_0000004"),
        "release",
    ],
)
def test_a_folder_that_a_run_saved_to_is_known_by_any_of_its_files(tmp_path, name):
    (tmp_path / "run" / name).mkdir(parents=True)
    with pytest.raises(UserError) as caught:
        find_source(str(tmp_path / "run"))
    assert "is not a model" not in caught.value.message  # but one without a whole checkpoint


def test_of_a_model_of_the_hub_weights_configs_tokenizer_and_code_are_downloaded(tmp_path, monkeypatch):
    asked = []
    hub = {"snapshot_download": lambda model, revision, allow_patterns: asked.append(allow_patterns) or str(tmp_path)}
    put_modules(monkeypatch, {"huggingface_hub": hub})
    find_source("org/name")
    assert asked == [["*.json", "*.safetensors", "*.model", "*.jinja", "*.py", "*.txt"]]
