import json
import re
import shutil

import pytest

from nemotron.lineage import ArtifactError, log_artifact, resolve

HINT = "Make it with: nemotron super3 data prep sft -c tiny"


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    folder = tmp_path / "splits"
    folder.mkdir()
    for tokens, aliases in ((1, ["tiny"]), (2, [])):
        log_artifact(
            name="Data-sft",
            type="dataset",
            path=folder,
            root=tmp_path / "artifacts",
            metadata={"tokens": tokens},
            aliases=aliases,
        )
    return tmp_path / "artifacts"


@pytest.mark.parametrize(
    ("reference", "version"),
    [("Data-sft", 2), ("Data-sft:latest", 2), ("Data-sft:tiny", 1), ("Data-sft:v1", 1), ("Data-sft:v2", 2)],
)
def test_a_reference_names_a_version(root, reference, version):
    artifact = resolve(reference, root)
    assert (artifact.version, artifact.metadata["tokens"]) == (version, version)


def test_the_artifacts_own_folder_is_a_reference_too(root, monkeypatch):
    assert resolve(str(root.parent / "splits"), "elsewhere").metadata == {"tokens": 2}
    monkeypatch.chdir(root.parent)
    assert resolve("splits", "elsewhere").metadata == {"tokens": 2}


def test_a_folder_that_was_moved_is_found_where_it_is_now(root, tmp_path):
    moved = shutil.move(root.parent / "splits", tmp_path / "moved")
    assert resolve(str(moved), root).path == str(tmp_path / "moved")


@pytest.mark.parametrize(
    ("reference", "message", "hint"),
    [
        ("Dta-sft", 'There is no artifact "Dta-sft" in {root}.', f'Did you mean "Data-sft"? {HINT}'),
        (
            "Data-sft:tinny",
            'There is no "tinny" of the artifact Data-sft in {root}.',
            'Did you mean "tiny"? Data-sft has: ',
        ),
        ("Data-sft:v9", 'There is no "v9" of the artifact Data-sft in {root}.', "Data-sft has: latest, tiny, v1, v2."),
        (
            "Data-sft:vtwo",
            'There is no "vtwo" of the artifact Data-sft in {root}.',
            "Data-sft has: latest, tiny, v1, v2.",
        ),
        ("Data-sft:2", 'There is no "2" of the artifact Data-sft in {root}.', "Data-sft has: latest, tiny, v1, v2."),
        ("/no/such/folder", "The folder /no/such/folder does not exist.", HINT),
    ],
)
def test_what_is_not_there_is_named_with_what_is(root, reference, message, hint):
    with pytest.raises(ArtifactError) as caught:
        resolve(reference, root, hint=HINT)
    assert caught.value.message == message.format(root=root)
    assert hint in caught.value.hint
    assert caught.value.hint.endswith(HINT)


def test_a_folder_without_a_manifest_is_refused(root, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArtifactError, match=r"empty.*artifact\.json"):
        resolve(str(tmp_path / "empty"), root)


def test_a_name_is_refused_without_any_records(tmp_path):
    with pytest.raises(ArtifactError) as caught:
        resolve("Data-sft", tmp_path / "nothing", hint=HINT)
    assert caught.value.hint == HINT


def test_an_artifact_whose_folder_has_vanished_is_named(root):
    shutil.rmtree(root.parent / "splits")
    with pytest.raises(ArtifactError) as caught:
        resolve("Data-sft:tiny", root, hint=HINT)
    assert re.search(f"Data-sft:v1 .*{root.parent / 'splits'}", caught.value.message)


def test_a_record_that_is_damaged_is_named(root):
    (root / "Data-sft" / "v2.json").write_text('{"name": "Data')
    with pytest.raises(ArtifactError, match=r"v2\.json"):
        resolve("Data-sft:v2", root)


def test_a_record_of_a_later_release_is_readable(root):
    path = root / "Data-sft" / "v2.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"licence": "CC"}))
    assert resolve("Data-sft:v2", root).version == 2
