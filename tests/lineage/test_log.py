import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from nemotron.lineage import ArtifactError, check_root, log_artifact, resolve


@pytest.fixture(autouse=True)
def without_wandb(monkeypatch):
    monkeypatch.delenv("WANDB_PROJECT", raising=False)


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "splits"
    folder.mkdir()
    return folder


def log(tmp_path, path, **options):
    return log_artifact(name="Data-sft", type="dataset", path=path, root=tmp_path / "artifacts", **options)


def test_an_artifact_is_a_numbered_file_an_alias_and_a_manifest(tmp_path, data):
    artifact = log(tmp_path, data, metadata={"pack_size": 4096}, inputs=["/raw/chat.jsonl"], aliases=["tiny"])
    record = json.loads((tmp_path / "artifacts/Data-sft/v1.json").read_text())
    assert record == json.loads((data / "artifact.json").read_text())
    assert record["path"] == str(data)
    assert record["metadata"] == {"pack_size": 4096}
    assert record["inputs"] == ["/raw/chat.jsonl"]
    assert artifact.reference == "Data-sft:v1"
    for alias in ("latest", "tiny"):
        assert (tmp_path / "artifacts/Data-sft/aliases" / alias).read_text() == "v1\n"


def test_each_change_is_a_version_and_aliases_follow(tmp_path, data):
    log(tmp_path, data, metadata={"tokens": 1}, aliases=["tiny"])
    second = log(tmp_path, data, metadata={"tokens": 2})
    root = tmp_path / "artifacts"
    assert second.version == 2
    assert [resolve(f"Data-sft:{label}", root).version for label in ("latest", "tiny")] == [2, 1]


def test_recording_the_same_again_is_the_same_version(tmp_path, data):
    first = log(tmp_path, data, metadata={"tokens": 1})
    log(tmp_path, data, metadata={"tokens": 2})
    again = log(tmp_path, data, metadata={"tokens": 1}, aliases=["back"])
    assert again == first
    assert resolve("Data-sft:latest", tmp_path / "artifacts") == first
    assert resolve("Data-sft:back", tmp_path / "artifacts") == first


def test_an_input_artifact_is_recorded_by_its_version(tmp_path, data):
    source = log(tmp_path, data)
    model = log_artifact(name="Model-sft", type="model", path=data, root=tmp_path / "artifacts", inputs=[source])
    assert model.inputs == ["Data-sft:v1"]


def test_writers_at_the_same_time_get_versions_of_their_own(tmp_path, data):
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda number: log(tmp_path, data, metadata={"writer": number}), range(24)))
    assert sorted(artifact.version for artifact in made) == list(range(1, 25))
    for artifact in made:
        assert resolve(artifact.reference, tmp_path / "artifacts") == artifact


def test_a_claimed_but_unwritten_version_is_passed_over(tmp_path, data):
    log(tmp_path, data)
    (tmp_path / "artifacts/Data-sft/v2.json").touch()  # a writer that was killed
    assert log(tmp_path, data, metadata={"n": 1}).version == 3


@pytest.mark.parametrize("alias", ["my/run", "a:b", "v3", ""])
def test_an_alias_that_no_reference_could_name_is_refused(tmp_path, data, alias):
    with pytest.raises(ArtifactError, match="cannot name an artifact or an alias"):
        log(tmp_path, data, aliases=[alias])


def test_a_root_must_be_a_folder_or_become_one(tmp_path):
    check_root(tmp_path)
    check_root(tmp_path / "new" / "artifacts")
    (tmp_path / "file").touch()
    for root in (tmp_path / "file", tmp_path / "file" / "artifacts"):
        with pytest.raises(ArtifactError) as caught:
            check_root(root)
        assert str(caught.value) == f"Cannot write {tmp_path}/file: Not a directory. Set run.artifacts to a folder."
