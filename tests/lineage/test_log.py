import errno
import json
import re
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from nemotron.files.atomic_files import replace_when_complete
from nemotron.files.paths import config_dir
from nemotron.lineage import ArtifactError, check_root, log_artifact, resolve
from nemotron.lineage import log as log_module
from nemotron.lineage.log import _is_same


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


def test_files_of_this_package_are_recorded_so_that_another_machine_finds_its_own(tmp_path, data):
    shipped = {"model": str(config_dir() / "tiny_model")}
    assert log(tmp_path, data, metadata=shipped).metadata == shipped
    assert json.loads((data / "artifact.json").read_text())["metadata"] == {"model": "bundled:tiny_model"}
    assert resolve("Data-sft", tmp_path / "artifacts").metadata == shipped


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


def test_what_killed_writers_left_is_removed_by_the_next_version(tmp_path, data):
    folder = tmp_path / "artifacts/Data-sft"
    folder.mkdir(parents=True)
    (folder / ".v1.json.0a1b2c3d.tmp").write_text("{")
    with replace_when_complete(folder / "v1.json"):  # of somebody who lives
        log(tmp_path, data)
        assert len(list(folder.glob(".v1.json.*.tmp"))) == 1


def test_recording_the_same_again_is_the_same_version(tmp_path, data):
    first = log(tmp_path, data, metadata={"tokens": 1})
    log(tmp_path, data, metadata={"tokens": 2})
    again = log(tmp_path, data, metadata={"tokens": 1}, aliases=["back"])
    assert again == first
    assert resolve("Data-sft:latest", tmp_path / "artifacts") == first
    assert resolve("Data-sft:back", tmp_path / "artifacts") == first


def test_what_an_earlier_release_recorded_without_a_digest_is_the_same_version(tmp_path, data):
    log(tmp_path, data, metadata={"tokens": 1}, inputs=["/raw/chat.jsonl"])
    file = tmp_path / "artifacts/Data-sft/v1.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "digest": "", "input_digests": {}}))
    assert log(tmp_path, data, metadata={"tokens": 1}, inputs=["/raw/chat.jsonl"]).version == 1
    assert log(tmp_path, data, metadata={"tokens": 2}, inputs=["/raw/chat.jsonl"]).version == 2


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


def test_the_number_of_a_version_that_was_removed_is_not_given_again(tmp_path, data):
    for number in range(3):
        log(tmp_path, data, metadata={"n": number})
    (tmp_path / "artifacts/Data-sft/v2.json").unlink()
    assert log(tmp_path, data, metadata={"n": 3}).version == 4


@pytest.mark.parametrize("alias", ["my/run", "a:b", "v3", ""])
def test_an_alias_that_no_reference_could_name_is_refused(tmp_path, data, alias):
    with pytest.raises(ArtifactError, match=f'"{alias}"'):
        log(tmp_path, data, aliases=[alias])


def test_a_root_must_be_a_folder_or_become_one(tmp_path):
    check_root(tmp_path)
    check_root(tmp_path / "new" / "artifacts")
    (tmp_path / "file").touch()
    for root in (tmp_path / "file", tmp_path / "file" / "artifacts"):
        with pytest.raises(ArtifactError) as caught:
            check_root(root)
        assert f"{tmp_path}/file" in caught.value.message
        assert "run.artifacts" in (caught.value.hint or "")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC])
def test_a_folder_that_may_not_be_written_to_is_recorded_without_a_manifest(tmp_path, data, monkeypatch, number):
    written = log_module.write

    def write(artifact, path):
        if path.parent == data:
            raise OSError(number, "no")
        written(artifact, path)

    monkeypatch.setattr(log_module, "write", write)
    if number == errno.ENOSPC:
        with pytest.raises(OSError, match="no"):
            log(tmp_path, data)
    else:
        assert log(tmp_path, data).version == 1


def test_a_record_says_what_made_it(tmp_path, data, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/venv/bin/nemotron", "super3", "sft", "-c", "tiny", "env_vars.HF_TOKEN=planted"])
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    (data / "shard").write_text("packs")
    log(tmp_path, data, config={"pack_size": 4096, "env_vars": {"HF_TOKEN": "planted"}})
    text = (tmp_path / "artifacts/Data-sft/v1.json").read_text()
    assert "planted" not in text
    record = json.loads(text)
    assert record["command"] == "nemotron super3 sft -c tiny 'env_vars.HF_TOKEN=***'"
    assert (record["job"]["kind"], record["job"]["id"]) == ("slurm", "4711")
    assert record["config"]["pack_size"] == 4096
    assert record["digest"].startswith("sha256:")
    assert record["code"]["package"].startswith("nemotron")


def test_another_content_is_another_version(tmp_path, data):
    for content in ("one", "two", "one"):
        (data / "shard").write_text(content)
        log(tmp_path, data)
    assert sorted(path.name for path in (tmp_path / "artifacts/Data-sft").glob("v*.json")) == ["v1.json", "v2.json"]


def test_the_same_run_hash_is_one_version_wherever_it_was_made(tmp_path, data):
    first = log(tmp_path, data, metadata={"run_hash": "abc", "tokens": 1})
    shutil.copytree(data, tmp_path / "again")
    again = log(tmp_path, tmp_path / "again", metadata={"run_hash": "abc", "tokens": 1, "metadata": "elsewhere"})
    assert (first.reference, again.reference) == ("Data-sft:v1", "Data-sft:v1")
    # It is found where it was made last, and where it was made first when that is gone.
    assert resolve("Data-sft", tmp_path / "artifacts").path == str(tmp_path / "again")
    assert log(tmp_path, data, metadata={"run_hash": "abc"}).path == str(data)
    assert resolve("Data-sft", tmp_path / "artifacts").path == str(data)
    log(tmp_path, tmp_path / "again", metadata={"run_hash": "abc"})
    shutil.rmtree(tmp_path / "again")
    assert resolve("Data-sft", tmp_path / "artifacts").path == str(data)


def test_other_content_with_the_same_run_hash_is_another_version(tmp_path, data):
    log(tmp_path, data, metadata={"run_hash": "abc"})
    (data / "shard").write_text("damaged")
    assert log(tmp_path, data, metadata={"run_hash": "abc"}).reference == "Data-sft:v2"


@pytest.mark.parametrize("metadata", [{"run_hash": "abc"}, {"tokens": 1}])
def test_the_same_at_the_same_time_is_one_version(tmp_path, data, metadata):
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda number: log(tmp_path, data, metadata=metadata, config={"n": number}), range(16)))
    assert {artifact.reference for artifact in made} == {f"Data-sft:v{made[0].version}"}
    assert len(list((tmp_path / "artifacts/Data-sft").glob("v*.json"))) == 1


def test_what_another_process_recorded_a_moment_ago_is_that_version(tmp_path, data, monkeypatch):
    """It was not there yet when this process looked."""
    first = log(tmp_path, data, metadata={"tokens": 1})
    monkeypatch.setattr(log_module, "_find_same", lambda artifact, root: None)
    assert log(tmp_path, data, metadata={"tokens": 1}) == first
    assert log(tmp_path, data, metadata={"tokens": 2}).version == 2


def test_a_shipped_file_is_recorded_by_its_content(tmp_path, data, monkeypatch):
    """A job has the shipped configs in a folder of its own, which says nothing."""
    made = []
    for job in ("job_1", "job_2"):
        shipped = tmp_path / job / "_config"
        shipped.mkdir(parents=True)
        (shipped / "chat.jsonl").write_text('{"messages": []}')
        monkeypatch.setattr("nemotron.lineage.inputs.config_dir", lambda shipped=shipped: shipped)
        made.append(log(tmp_path, data, inputs=[str(shipped / "chat.jsonl")], metadata={"blend": f"{shipped}/b.json"}))
    assert made[0].reference == made[1].reference
    (source,) = made[0].inputs
    assert re.fullmatch(r"bundled:chat\.jsonl@[0-9a-f]{12}", source)
    assert made[0].input_digests[source].startswith("sha256:")
    # What a consumer opens is a path again: that of the machine that reads.
    assert resolve("Data-sft", tmp_path / "artifacts").metadata["blend"] == f"{tmp_path}/job_2/_config/b.json"


def test_a_path_inside_an_artifact_is_that_artifact(tmp_path, data):
    log(tmp_path, data)
    model = log_artifact(
        name="Model", type="model", path=data, root=tmp_path / "artifacts", inputs=[f"{data}/rows.jsonl", str(data)]
    )
    assert model.inputs == [f"{data}/rows.jsonl", "Data-sft:v1"]  # a file that is not there stays a path
    (data / "rows.jsonl").touch()
    rows = log_artifact(
        name="Rows", type="dataset", path=tmp_path, root=tmp_path / "artifacts", inputs=[f"{data}/rows.jsonl"]
    )
    assert rows.inputs == ["Model:v1"]  # what was recorded there last
    assert "k:s" not in log(tmp_path, data, inputs=["s3://k:s@bucket/x"]).inputs[0]


def test_a_checkpoint_of_another_iteration_is_not_the_recorded_model(tmp_path, data):
    for name in ("iter_0000010", "iter_0000020"):
        (data / name).mkdir()
    log(tmp_path, data, metadata={"iteration": 20})
    options = {"name": "Export", "type": "model", "path": tmp_path, "root": tmp_path / "artifacts"}
    exported = [log_artifact(**options, inputs=[f"{data}/iter_00000{n}"]).inputs for n in (10, 20)]
    assert exported == [[f"{data}/iter_0000010"], ["Data-sft:v1"]]


@pytest.mark.parametrize("field", ["version", "created", "code", "command", "job", "config"])
def test_who_made_a_thing_and_when_does_not_make_it_another(tmp_path, data, field):
    first = log(tmp_path, data, metadata={"tokens": 1})
    changed = replace(first, **{field: "another"})
    assert _is_same(changed, first)
    assert not _is_same(replace(first, type="another"), first)
