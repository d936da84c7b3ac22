"""What each argument and option is completed from, as a table of lines."""

from pathlib import Path

import pytest
import typer

from nemotron.cli.app import app
from nemotron.cli.completion import known
from nemotron.cli.completion.candidates import _ARGUMENT_VALUES, _OPTION_VALUES, Candidate, find_candidates
from nemotron.cli.completion.words import find_place
from nemotron.cli.usage import is_group, walk_commands
from nemotron.lineage import log_artifact

ROOT = typer.main.get_command(app)
FOLDERS = {"artifacts/", "data/"}
FILES = {*FOLDERS, "mine.yaml", "rows.jsonl"}
MODELS = {"Model", "Model:v1", "Model:latest"}
RECORDS = {*MODELS, "Data", "Data:v1", "Data:latest"}


def offered(line: str) -> set[str]:
    """The candidates for what follows the last blank of a line."""
    *words, typed = line.split(" ")
    return {each.value for each in find_candidates(find_place(ROOT, words), typed)}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with rows, a config, a dataset and a model."""
    for name, kind in (("Data", "dataset"), ("Model", "model")):
        (tmp_path / "data").mkdir(exist_ok=True)
        log_artifact(name=name, type=kind, path=tmp_path / "data", root=tmp_path / "artifacts")
    for name in ("rows.jsonl", "mine.yaml", ".hidden"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEMOTRON_ARTIFACTS", str(tmp_path / "artifacts"))


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("super3 report ", FOLDERS),
        ("super3 report --artifacts ", FOLDERS),
        ("super3 data verify ", FOLDERS),
        ("super3 data import ", FOLDERS),
        ("super3 data inspect ", FILES),
        ("super3 data inspect --only dr", {"dropped"}),
        ("super3 data inspect --only bad_j", {"bad_json"}),
        ("super3 data blend show ", FILES),
        ("super3 data blend show --data ", FOLDERS),
        ("super3 data blend check ", FILES),
        ("super3 model chat ", {*FOLDERS, *MODELS}),
        ("super3 model chat --thinking ", {"on", "off", "low"}),
        ("super3 model export ", FOLDERS),
        ("super3 model import ", FOLDERS),
        ("super3 sft --peft ", {"lora", "dora", "none"}),
        ("super3 sft --peft=l", {"--peft=lora"}),
        ("super3 pipe --stage ", {"prep", "sft"}),
        ("super3 pipe --prep-config m", {"mine.yaml"}),
        ("super3 model export --ou", {"--output"}),
        ("artifacts list ", RECORDS),
        ("artifacts show Data:", {"Data:v1", "Data:latest"}),
        ("artifacts lineage ", RECORDS),
        ("config schema ", {"sft", "data_prep", "rollouts"}),
        ("super3 data prep ", {"sft"}),
        ("super3 data inspect rows.jsonl pack_s", {"pack_size="}),
        ("doctor ", set()),
    ],
)
def test_a_word_is_completed_from_what_its_place_takes(line: str, values: set[str]):
    assert offered(line) == values


def test_every_command_and_option_of_the_tables_is_there():
    commands = {name: command for name, command in walk_commands(ROOT, "nemotron") if not is_group(command)}
    assert {f"nemotron {' '.join(path)}" for path in _ARGUMENT_VALUES} == {
        name for name, command in commands.items() if any(one.param_type_name == "argument" for one in command.params)
    }
    options = {spelling for command in commands.values() for one in command.params for spelling in one.opts}
    assert set(_OPTION_VALUES) <= options


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("", ["artifacts/", "data/", "mine.yaml", "rows.jsonl"]),
        (".", [".hidden"]),
        ("d", ["data/"]),
        ("data/", ["data/artifact.json"]),
        ("./m", ["./mine.yaml"]),
        ("missing/", []),
    ],
)
def test_files_are_listed_as_a_shell_does(typed: str, found: list[str]):
    assert [name for name, _ in known.files((), typed)] == found


def test_files_below_the_root_and_the_home_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert [name for name, _ in known.files((), "~/m")] == ["~/mine.yaml"]
    assert "/proc/" in [name for name, _ in known.files((), "/pro")]
    assert [name for name, _ in known.files((), "", suffixes=(".yaml",))] == ["artifacts/", "data/", "mine.yaml"]


@pytest.mark.parametrize("variable", [True, False])
def test_profiles_are_those_of_the_nearest_file_or_of_the_variables(tmp_path: Path, monkeypatch, variable: bool):
    (tmp_path / "env.toml").write_text("[above]\n[artifacts]\n")
    (tmp_path / "other.toml").write_text('[other]\nexecutor = "slurm"\n')
    monkeypatch.chdir(tmp_path / "data")
    if variable:
        monkeypatch.setenv("NEMOTRON_ENV_FILE", str(tmp_path / "other.toml"))
    assert [*known.profiles((), "")] == ([("other", "slurm")] if variable else [("above", "")])


def test_of_an_artifact_the_latest_version_says_its_kind(tmp_path: Path):
    (tmp_path / "again").mkdir()
    (tmp_path / "again/x").touch()
    log_artifact(name="Data", type="model", path=tmp_path / "again", root=tmp_path / "artifacts", aliases=["best"])
    assert [*known.artifacts((), "", "model")][:5] == [
        ("Data", "the latest version"),
        ("Data:v1", ""),
        ("Data:v2", ""),
        ("Data:best", "v2"),
        ("Data:latest", "v2"),
    ]
    assert [*known.artifacts((), "", "dataset")] == []


def test_the_help_of_a_candidate_is_one_line():
    [found] = find_candidates(find_place(ROOT, ["super3"]), "sf")
    assert found.value == "sft"
    assert found.help == " ".join(found.help.split()) != ""
    assert Candidate("--help", "Show help and exit.") in find_candidates(find_place(ROOT, ["doctor"]), "--h")
