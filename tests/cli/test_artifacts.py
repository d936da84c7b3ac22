import json
import os

import pytest

from nemotron.cli.app import run
from nemotron.lineage import log_artifact


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    """Two versions of data, a model made from the first, and its export."""
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEMOTRON_ARTIFACTS", str(tmp_path / "artifacts"))

    def log(name, *inputs, type="model", **options):
        (tmp_path / name).mkdir(exist_ok=True)
        return log_artifact(
            name=name, type=type, path=tmp_path / name, root=tmp_path / "artifacts", inputs=inputs, **options
        )

    data = log("Data", "/raw/chat.jsonl", "hf://datasets/org/chat@abc", type="dataset", aliases=["tiny"])
    log("Data", "/raw/other.jsonl", type="dataset", metadata={"tokens": 12_000}, config={"pack_size": 4096})
    log("Model-hf", log("Model", data))
    return tmp_path / "artifacts"


def shown(capsys, *arguments):
    assert run(["artifacts", *arguments]) == 0
    return capsys.readouterr().out


def test_the_list_has_each_names_latest_and_aliased_versions(capsys):
    assert run(["artifacts", "list"]) == 0
    printed = capsys.readouterr()
    assert "older versions" not in printed.err
    lines = [line.split() for line in printed.out.splitlines()]
    assert [line[0] for line in lines] == ["artifact", "Data:v1", "Data:v2", "Model:v1", "Model-hf:v1"]
    assert lines[1][-1] == "tiny"
    assert max(map(len, shown(capsys, "list").splitlines())) <= 80
    listed = json.loads(shown(capsys, "list", "Data", "--json"))
    assert [(each["reference"], each["aliases"]) for each in listed] == [("Data:v1", ["tiny"]), ("Data:v2", ["latest"])]


def test_the_list_says_how_many_versions_it_leaves_out(root, capsys):
    for number in range(3):
        log_artifact(name="Model", type="model", path=root.parent / "Model", root=root, metadata={"n": number})
    assert run(["artifacts", "list"]) == 0
    printed = capsys.readouterr()
    assert "3 older versions" in printed.err
    assert [line.split()[0] for line in printed.out.splitlines() if "Model:" in line] == ["Model:v4"]


@pytest.mark.parametrize("name", ["Data", "Data:latest", "Data:v2", "./Data"])
def test_a_record_is_shown_with_what_made_it(capsys, name):
    facts = dict(line.split(maxsplit=1) for line in shown(capsys, "show", name).splitlines())
    assert facts["artifact"] == "Data:v2"
    assert facts["content"].startswith("sha256:")
    assert facts["tokens"] == "12,000"
    assert {"by", "code", "job", "path"} <= facts.keys()
    assert json.loads(shown(capsys, "show", name, "--json"))["config"] == {"pack_size": 4096}


def test_lineage_goes_down_to_the_datasets_and_up_to_the_export(capsys):
    assert [line.split(" (")[0] for line in shown(capsys, "lineage", "Model").splitlines()] == [
        "Model:v1",
        "└─ Data:v1",
        "   ├─ /raw/chat.jsonl",
        "   └─ hf://datasets/org/chat@abc",
        "",
        "Model:v1",
        "└─ Model-hf:v1",
    ]
    tree = json.loads(shown(capsys, "lineage", "Data:tiny", "--json"))
    assert [each["reference"] for each in tree["made_from"]] == ["/raw/chat.jsonl", "hf://datasets/org/chat@abc"]
    (model,) = tree["used_by"]
    assert (model["reference"], model["used_by"][0]["reference"]) == ("Model:v1", "Model-hf:v1")


@pytest.mark.parametrize("command", ["show", "lineage", "list"])
def test_a_name_that_is_not_there_gets_the_nearest(capsys, command):
    assert run(["artifacts", command, "Dta"]) == 1
    assert 'Did you mean "Data"?' in capsys.readouterr().err


def test_what_is_gone_is_still_recorded_and_said_to_be_gone(capsys, tmp_path):
    (tmp_path / "Data" / "artifact.json").unlink()
    (tmp_path / "Data").rmdir()
    for command, name in (("show", "Data:v1"), ("lineage", "Model-hf")):
        assert "no longer" in shown(capsys, command, name)


def test_nothing_recorded_yet(capsys, tmp_path):
    assert str(tmp_path / "new") in shown(capsys, "list", "--artifacts", str(tmp_path / "new"))


GARBAGE = (b"", b"\0\0", b"\xff\xfe", b"v" + b"9" * 5000, "v²\n".encode(), b"[" * 100_000, b"null", b'{"name": 5}')


def record_data():
    return log_artifact(name="Data", type="dataset", path="Data", root="artifacts", metadata={"run_hash": "abc"})


@pytest.mark.slow
def test_a_damaged_record_is_named_or_left_out_and_keeps_no_other_from_being_recorded(root, capsys):
    record_data()  # v3, with a claim of its run hash
    for file in sorted(path for path in root.rglob("*") if path.is_file()):
        before = file.read_bytes()
        for content in (*GARBAGE, None):
            file.unlink()
            file.write_bytes(content) if content is not None else os.mkfifo(file)
            run(["artifacts", "list"])
            for name in ("Data", "Data:v1", "Data:tiny", "Model"):
                for command in ("show", "lineage"):
                    code, printed = run(["artifacts", command, name]), capsys.readouterr()
                    assert code in (0, 1)
                    assert (code == 1) == ("error: " in printed.err)
            if content is not None:
                assert record_data().version >= 3
            file.unlink()
            file.write_bytes(before)
