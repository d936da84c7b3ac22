"""MLflow and Comet: what has no effect, what is not installed and what must not be in a config, refused by key."""

import pytest

from nemotron.training.checks.trackers import check_tracker_packages, check_trackers
from nemotron.training.config import SftConfig

ON = {"mlflow_experiment": "tiny", "comet_project": "tiny"}


def problems(**logger):
    return [f"{problem.message} {problem.hint}" for problem in check_trackers(SftConfig(logger=logger))]


def lacking(environ, **logger):
    found = check_tracker_packages(SftConfig(logger=logger), environ)
    return [f"{problem.message} {problem.hint}" for problem in found]


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Stand-ins for packages, which are found and never imported."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def install(*names):
        for name in names:
            (tmp_path / f"{name}.py").write_text("raise AssertionError('imported')")

    return install


def test_a_tracker_that_is_on_takes_all_its_settings():
    assert not problems()
    assert not problems(**ON, mlflow_tags={"team": "chat"}, mlflow_tracking_uri="sqlite:///x", comet_tags=["a"])
    assert not problems(**ON, mlflow_run_name="x", comet_experiment_name="y", comet_workspace="z")


@pytest.mark.parametrize(
    ("key", "switch"),
    [("mlflow_run_name", "mlflow_experiment"), ("mlflow_tracking_uri", "mlflow_experiment"),
     ("comet_workspace", "comet_project"), ("comet_experiment_name", "comet_project")],
)  # fmt: skip
def test_a_setting_without_what_turns_it_on_has_no_effect(key, switch):
    [problem] = problems(**{key: "x"})
    assert f"logger.{key}" in problem
    assert f"logger.{switch}" in problem
    assert not problems(**{key: "x", switch: "y"})


def test_a_key_does_not_stand_in_a_config():
    [problem] = problems(comet_project="x", comet_api_key="secret")
    assert "COMET_API_KEY" in problem
    assert "secret" not in problem.replace("comet_api_key", "")


@pytest.mark.parametrize("tags", [{"mlflow_tags": ["a"]}, {"mlflow_tags": {"a": 1}}, {"comet_tags": {"a": "b"}}])
def test_tags_of_the_wrong_form_are_refused(tags):
    [problem] = problems(**ON, **tags)
    assert f"logger.{next(iter(tags))}" in problem


def test_a_package_that_is_missing_is_named(installed):
    with_key = {"COMET_API_KEY": "x"}
    assert not lacking({})
    mlflow, comet = lacking(with_key, **ON)
    assert "pip install mlflow" in mlflow
    assert "pip install comet-ml" in comet
    installed("mlflow", "comet_ml")
    assert not lacking(with_key, **ON)


def test_comet_needs_a_key_in_the_environment_or_in_its_own_file(installed, tmp_path):
    installed("comet_ml")
    [problem] = lacking({}, comet_project="tiny")
    assert "COMET_API_KEY" in problem
    (tmp_path / ".comet.config").write_text("[comet]\napi_key=x\n")
    assert not lacking({}, comet_project="tiny")
