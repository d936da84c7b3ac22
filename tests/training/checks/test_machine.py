"""What this machine does not have is refused, with what it could do instead."""

from types import SimpleNamespace
from typing import Any

import pytest

from nemotron.config import load_config
from nemotron.errors import UserError
from nemotron.training import backend
from nemotron.training.checks import machine as checks
from nemotron.training.checks.machine import (
    check_artifacts,
    check_backend,
    check_base_model,
    check_export,
    check_records,
    check_start_is_here,
    check_tokenizer_is_here,
    check_tracker_packages,
)
from nemotron.training.config import RunConfig, SftConfig

TRACKERS = {"mlflow_experiment": "tiny", "comet_project": "tiny"}


def config(chosen="auto"):
    return load_config("tiny", [f"run.backend={chosen}"], schema=SftConfig).config


def check(settings):
    return check_backend(settings, backend.choose_backend(settings.run.backend))


@pytest.mark.parametrize("chosen", ["auto", "production", "torch", "cpu"])
def test_what_this_machine_has_is_taken(machine, chosen):
    machine(gpu=True, packages=backend.PRODUCTION_PACKAGES)
    assert [*check(config(chosen))] == []


@pytest.mark.parametrize("chosen", ["production", "torch"])
def test_without_a_gpu_the_cpu_is_pointed_to(machine, chosen):
    machine(gpu=False)
    [problem] = check(config(chosen))
    assert f"run.backend={chosen}" in problem.message
    assert "run.backend=cpu" in problem.hint


def test_production_without_its_packages_names_them(machine):
    machine(gpu=True, packages=("mamba_ssm",))
    [problem] = check(config("production"))
    assert "transformer_engine" in problem.message
    assert "mamba_ssm" not in problem.message
    assert "run.backend=torch" in problem.hint


@pytest.mark.parametrize(("chosen", "gpu"), [("auto", False), ("auto", True), ("torch", True), ("cpu", False)])
def test_context_parallelism_takes_the_production_stack(machine, chosen, gpu):
    machine(gpu=gpu)
    divided = config(chosen)
    divided.model["context_parallel_size"] = 2
    [problem] = check(divided)
    assert "model.context_parallel_size=2" in problem.message
    machine(gpu=True, packages=backend.PRODUCTION_PACKAGES)
    divided.run.backend = "auto"
    assert [*check(divided)] == []


def lacking(environ, **logger):
    found = check_tracker_packages(SftConfig(logger=logger), environ)
    return [f"{problem.message} {problem.hint}" for problem in found]


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Stand-ins for packages, which are found and never imported."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def install(*names):
        for name in names:
            (tmp_path / f"{name}.py").write_text("raise AssertionError('imported')")

    return install


def test_a_package_that_is_missing_is_named(installed):
    with_key = {"COMET_API_KEY": "x"}
    assert not lacking({})
    mlflow, comet = lacking(with_key, **TRACKERS)
    assert mlflow.startswith("logger.mlflow_experiment is tiny")
    assert "pip install mlflow" in mlflow
    assert "pip install comet-ml" in comet
    installed("mlflow", "comet_ml")
    assert not lacking(with_key, **TRACKERS)


def test_comet_needs_a_key_in_the_environment_or_in_its_own_file(installed, tmp_path):
    installed("comet_ml")
    [problem] = lacking({}, comet_project="tiny")
    assert problem.startswith("logger.comet_project")
    assert "COMET_API_KEY" in problem
    named = tmp_path / "mine"
    for file in (tmp_path / ".comet.config", tmp_path / "here/.comet.config", named):  # one of them is enough
        file.write_text("[comet]\napi_key=x\n")
        assert not lacking({"COMET_CONFIG": str(named)}, comet_project="tiny")
        file.unlink()


def records_refused(output):
    return [*check_records(output, output / "checkpoints", output / "tb_logs")]


@pytest.mark.parametrize("name", ["checkpoints", "tb_logs"])
def test_a_file_where_training_writes_in_a_folder_is_refused_before_training(tmp_path, name):
    path = tmp_path / name
    path.mkdir()
    assert records_refused(tmp_path) == []
    path.rmdir()
    path.touch()
    [problem] = records_refused(tmp_path)
    assert str(path) in problem.message
    path.unlink()
    path.symlink_to("a folder of a disk that is not mounted")
    [problem] = records_refused(tmp_path)
    assert str(path) in problem.message


@pytest.mark.parametrize("name", ["metrics.jsonl", "validation.jsonl", "test.jsonl", "history.jsonl", "train.log"])
@pytest.mark.parametrize(
    "spoil", [lambda path: path.mkdir(), lambda path: path.symlink_to(path.name)], ids=["folder", "loop"]
)
def test_a_record_that_cannot_be_continued_is_refused_before_training(tmp_path, name, spoil):
    (tmp_path / "metrics.jsonl").write_text("")
    assert records_refused(tmp_path) == []
    (tmp_path / name).unlink(missing_ok=True)
    spoil(tmp_path / name)
    [problem] = records_refused(tmp_path)
    assert str(tmp_path / name) in problem.message


@pytest.mark.parametrize(
    "name", ["report.html", "config.yaml", "run.json", "checkpoints/run.json", "checkpoints/artifact.json"]
)
def test_a_folder_where_training_replaces_a_file_is_refused_before_training(tmp_path, name):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / name).write_text("of an earlier session")
    assert records_refused(tmp_path) == []
    (tmp_path / name).unlink()
    (tmp_path / name).mkdir()
    [problem] = records_refused(tmp_path)
    assert str(tmp_path / name) in problem.message


@pytest.mark.parametrize("name", ["hf", "adapter"])
def test_an_export_that_would_replace_something_else_is_refused_before_training(tmp_path, name):
    settings = SftConfig(run=RunConfig(output_dir=str(tmp_path)))
    settings.convert_to_hf.adapter = name == "adapter"
    (tmp_path / name).mkdir()
    (tmp_path / name / "notes.txt").touch()
    assert [*check_export(settings)] == []  # not asked for
    settings.convert_to_hf.enabled = True
    [problem] = check_export(settings)
    assert str(tmp_path / name) in problem.message
    assert "convert_to_hf.output_dir" in problem.hint
    settings.convert_to_hf.output_dir = str(tmp_path / "new")
    assert [*check_export(settings)] == []


def found(**facts: Any) -> Any:
    """What was found before, as far as a check reads it."""
    return SimpleNamespace(**facts)


GONE = UserError("it is gone", "bring it back")


def test_a_run_asks_for_all_that_it_needs_of_a_machine(monkeypatch, tmp_path):
    names = [name for name in vars(checks) if name.startswith("check_") and name not in ("check_machine", "check_root")]
    names = [name for name in names if name != "check_replaceable"]
    for name in names:
        monkeypatch.setattr(checks, name, lambda *given, name=name: [name])
    run = found(output=tmp_path, checkpoints=tmp_path)
    asked: Any = checks.check_machine(config(), found(), found(), run, None, found())
    assert sorted(asked) == sorted(names)
    without: Any = checks.check_machine(config(), None, found(), run, None, None)
    assert {*asked} - {*without} == {"check_tokenizer_is_here", "check_backend"}


def test_what_a_run_starts_from_must_be_here_unless_it_resumes(tmp_path):
    unresolved = found(unresolved=GONE, checkpoint=None)
    [problem] = check_start_is_here(unresolved, found(newest=None))
    assert (problem.message, problem.hint) == ("it is gone", "bring it back")
    assert [*check_start_is_here(unresolved, found(newest="a checkpoint"))] == []
    [problem] = check_start_is_here(
        found(unresolved=None, checkpoint=tmp_path / "none", setting="run.model is x"), found(newest=None)
    )
    assert problem.message == "run.model is x, which does not exist."
    assert [*check_start_is_here(found(unresolved=None, checkpoint=tmp_path, setting=""), found(newest=None))] == []


@pytest.mark.parametrize(
    ("asked", "recorded", "named"),
    [
        (None, None, None),
        (None, "nvidia/tokenizer", None),
        (None, "{here}", None),
        ("{here}", "/gone", None),
        (None, "/gone", "the data was made with the tokenizer /gone, which does not exist."),
        ("/gone", "{here}", "tokenizer.tokenizer_model is /gone, which does not exist."),
        ("/gone", None, "tokenizer.tokenizer_model is /gone, which does not exist."),
    ],
)
def test_the_tokenizer_of_a_run_must_be_here(tmp_path, asked, recorded, named):
    asked, recorded = (path and path.format(here=tmp_path) for path in (asked, recorded))
    settings = SftConfig(tokenizer={} if asked is None else {"tokenizer_model": asked})
    data = found(reference="the data", tokenizer=recorded and found(model=recorded))
    problems = [problem.message for problem in check_tokenizer_is_here(settings, data)]
    assert problems == ([] if named is None else [named])


def test_artifacts_must_have_a_folder(tmp_path):
    assert [*check_artifacts(str(tmp_path / "new"))] == []
    (tmp_path / "file").touch()
    [problem] = check_artifacts(str(tmp_path / "file"))
    assert str(tmp_path / "file") in problem.message


def test_adapters_that_lost_their_base_model_are_refused():
    assert [*check_base_model(found(lost_base=None))] == []
    [problem] = check_base_model(found(lost_base=GONE))
    assert problem.message == "it is gone"


@pytest.mark.parametrize(("adapter", "file"), [(False, "config.json"), (True, "adapter_config.json")])
def test_an_export_replaces_only_an_earlier_one_of_its_kind(tmp_path, adapter, file):
    settings = SftConfig(run=RunConfig(output_dir=str(tmp_path)))
    settings.convert_to_hf.enabled, settings.convert_to_hf.adapter = True, adapter
    settings.convert_to_hf.output_dir = str(tmp_path / "export")
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / file).write_text("{}")
    asked = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checks, "check_replaceable", lambda folder, name: asked.append((folder.name, name)))
        assert [*check_export(settings)] == []
    assert asked == [("export", file)]


def test_without_context_parallelism_the_torch_layers_will_do(machine):
    machine(gpu=True)
    alone = config("torch")
    alone.model["context_parallel_size"] = None
    assert [*check(alone)] == []
