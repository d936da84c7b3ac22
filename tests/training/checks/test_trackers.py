"""MLflow and Comet: what has no effect and what must not be in a config, refused by key."""

import pytest

from nemotron.training.checks.trackers import check_trackers
from nemotron.training.config import SftConfig

ON = {"mlflow_experiment": "tiny", "comet_project": "tiny"}


def problems(**logger):
    return [f"{problem.message} {problem.hint}" for problem in check_trackers(SftConfig(logger=logger))]


def test_a_tracker_that_is_on_takes_all_its_settings():
    assert not problems()
    assert not problems(**ON, mlflow_tags={"team": "chat"}, mlflow_tracking_uri="sqlite:///x", comet_tags=["a"])
    assert not problems(mlflow_log_artifacts=False, comet_workspace=None)  # as the recipe has them
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
