"""What NeMo-Run is asked for on its cloud executors, with a stand-in for it; test_passed_on.py has the real one."""

import contextlib
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from tests.stand_ins import put_modules

from nemotron.errors import UserError
from nemotron.launch import LaunchError, place, preview
from nemotron.launch.executors import passed_on
from nemotron.launch.executors.passed_on import describe_request, make_options, mask_options, run_passed_on

OPTIONS = {
    "dgxcloud": (
        *('base_url = "http://service"', 'kube_apiserver_url = "k"', 'client_id = "me"', 'client_secret = "$SECRET"'),
        *('project_name = "p"', 'container_image = "img"', 'pvc_nemo_run_dir = "/pvc"', "gpus_per_node = 8"),
    ),
    "skypilot": ("num_nodes = 2", 'cloud = "aws"'),
    "kubeflow": ('image = "img"', 'workdir_pvc = "c"', "num_nodes = 2"),
}


class Executor:
    """Keeps its fields; `code_dir` is where kubeflow has the job's code."""

    def __init__(self, **fields):
        self.fields, self.code_dir = fields, "/pvc/code"
        if fields.get("cloud") == "nowhere":
            raise ValueError("no such cloud")

    def get_job_body(self, name, command):
        return {"kind": "TrainJob", "name": name, "command": command}


class Job:
    def __init__(self, task, executor, folder):
        self.task, self.executor, self.id, self.handle, self.state = (
            task,
            executor,
            "sft",
            "cloud://sft/w1",
            "SUCCEEDED",
        )
        executor.job_dir = folder

    @property
    def _dryrun_info(self):
        sky = SimpleNamespace(to_yaml_config=lambda: {"num": 2})
        return SimpleNamespace(request=SimpleNamespace(cmd=["bash", self.task.path], task=sky))


class NemoRun:
    """The module nemo_run: `steps` has what was asked; `refuses` an error, `state` how jobs end."""

    def __init__(self):
        self.steps, self.refuses, self.state, self.home = [], None, "SUCCEEDED", "the user's home"
        self.Packager = lambda: "packs nothing"
        self.Script = lambda path: SimpleNamespace(path=path)
        self.Experiment = lambda title, **options: self.open(title, options)
        self.records = SimpleNamespace()

    @contextlib.contextmanager
    def open(self, title, options):
        assert options["base_dir"] == self.home
        self.title, self.options, self.opened = title, options, SimpleNamespace(jobs=[])
        self.opened.add, self.opened.run, self.opened.dryrun = self.add, self.run, self.dryrun
        yield self.opened
        self.steps.append("left")

    def add(self, task, *, executor, name):
        self.opened.jobs.append(Job(task, executor, f"{self.home}/job"))
        self.steps.append(("added", name, task.path))

    def prepare(self):
        for _ in range(2):  # as NeMo-Run does
            self.opened.jobs[0].executor.create_job_dir()
        self.files = sorted(path.name for path in Path(self.home, "job/code").iterdir())

    def run(self, *, detach, tail_logs):
        self.steps.append(("run", detach, tail_logs))
        self.prepare()
        if self.refuses:
            raise self.refuses
        self.opened.jobs[0].state = self.state

    def dryrun(self, *, log, delete_exp_dir):
        self.steps.append(("dry run", log, delete_exp_dir))
        self.prepare()


@pytest.fixture
def nemo_run(monkeypatch):
    made = NemoRun()
    names = {"dgxcloud": "DGXCloudExecutor", "skypilot": "SkypilotExecutor", "kubeflow": "KubeflowExecutor"}
    schedulers = "nemo_run.run.torchx_backend.schedulers"
    stand_ins = put_modules(
        monkeypatch,
        {
            "nemo_run": {
                **{name: getattr(made, name) for name in ("Packager", "Script", "Experiment")},
                **dict.fromkeys(names.values(), Executor),
            },
            "nemo_run.config": {
                "get_nemorun_home": lambda: made.home,
                "set_nemorun_home": lambda home: setattr(made, "home", home),
            },
            **{f"{schedulers}.{name}": {f"{name.upper()}_JOB_DIRS": "~/.nemo_run", "OTHER": 1} for name in names},
        },
    )
    made.schedulers = {name: stand_ins[f"{schedulers}.{name}"] for name in names}
    monkeypatch.setenv("SECRET", "s3cret")
    return made


@pytest.fixture
def placed(profile, sft, monkeypatch):
    """A stage on a profile of an executor, with further lines."""

    def place_on(executor, *lines):
        with monkeypatch.context() as context:  # the fields are read from the source of the real one
            context.delitem(sys.modules, "nemo_run", raising=False)
            [placement] = place([sft], profile(*OPTIONS[executor], *lines, executor=executor), attached=True)
            passed_on.executor_fields(executor)
        return placement

    return place_on


def run(placement, attached=True):
    handles = []
    code = run_passed_on([placement], attached=attached, on_submitted=lambda where, job: handles.append((where, job)))
    return code, handles


def test_a_stage_is_run_from_a_home_of_its_own(placed, nemo_run):
    placement = placed("dgxcloud")
    assert run(placement) == (0, [(placement, "cloud://sft/w1")])
    assert nemo_run.steps == [("added", "sft", "/nemo_run/code/launch.sh"), ("run", False, True), "left"]
    assert "launch.sh" in nemo_run.files
    assert nemo_run.title == placement.experiment.split("_")[0]
    assert nemo_run.options.pop("id") == f"{placement.experiment}-sft"
    home = nemo_run.options.pop("base_dir")
    assert nemo_run.options == {
        "log_level": "ERROR",
        "clean_mode": True,
        "enable_goodbye_message": False,
        "skip_status_at_exit": True,
        "serialize_metadata_for_scripts": False,
    }
    assert Path(home).name.startswith("nemotron-")
    assert not Path(home).exists()  # with the secrets that NeMo-Run writes there
    assert nemo_run.home == "the user's home"
    assert vars(nemo_run.schedulers["dgxcloud"])["DGXCLOUD_JOB_DIRS"] == f"{home}/.jobs.json"
    assert vars(nemo_run.schedulers["dgxcloud"])["OTHER"] == 1
    [job] = nemo_run.opened.jobs
    assert job.executor.packager == "packs nothing"
    assert job.executor.fields == {**placement.profile.options, "client_secret": "s3cret", "nodes": 1}


def test_a_stage_that_nobody_waits_for_may_end_as_it_likes(placed, nemo_run):
    nemo_run.state = "RUNNING"
    assert run(placed("dgxcloud"), attached=False)[0] == 0
    assert ("run", True, False) in nemo_run.steps


@pytest.mark.parametrize(
    ("state", "code"), [("SUCCEEDED", 0), (SimpleNamespace(name="SUCCEEDED"), 0), ("FAILED", 1), (None, 1)]
)
def test_no_stage_follows_one_that_failed(placed, nemo_run, state, code):
    nemo_run.state = state
    placement, handles = placed("dgxcloud"), []
    stages = [placement, placement]
    assert run_passed_on(stages, attached=True, on_submitted=lambda where, job: handles.append(job)) == code
    assert len(handles) == (1 if code else 2)


@pytest.mark.parametrize(("error", "words"), [(RuntimeError("no quota "), "no quota"), (KeyError(), "KeyError")])
def test_a_job_that_is_not_accepted_says_so_in_the_services_words(placed, nemo_run, error, words):
    nemo_run.refuses = error
    with pytest.raises(LaunchError, match=f"profile here: {words} "):
        run(placed("dgxcloud"))
    assert nemo_run.home == "the user's home"


def test_fields_that_an_executor_refuses_are_named_with_the_profile(placed, nemo_run):
    placement = placed("skypilot")
    placement.profile.options["cloud"] = "nowhere"
    with pytest.raises(UserError, match=r"skypilot .*profile here: no such cloud") as error:
        run(placement)
    assert "env.toml" in str(error.value.hint)


@pytest.mark.parametrize(("executor", "field"), [("dgxcloud", "nodes"), ("skypilot", "num_nodes")])
def test_an_executor_gets_the_stages_nodes_and_values_from_variables(placed, nemo_run, monkeypatch, executor, field):
    placement = placed(executor)
    placement.profile.options.update(extra="$NOT A NAME", other="$SECRET", number=3)
    options = make_options(placement)
    assert (options[field], options["extra"], options["other"], options["number"]) == (
        *(placement.nodes, "$NOT A NAME"),
        *("s3cret", 3),
    )
    assert "nodes" not in options or "num_nodes" not in options


def test_a_plan_shows_fields_without_secrets(placed, nemo_run):
    placement = placed("dgxcloud")
    placement.profile.options.update(envs={"API_KEY": "planted", "A": 1}, api_token=5)
    shown = mask_options(placement)
    assert (shown["client_secret"], shown["base_url"], shown["gpus_per_node"]) == ("***", "http://service", 8)
    assert (shown["envs"]["A"], "planted" in str(shown), shown["api_token"]) == (1, False, 5)


def test_a_plan_shows_what_would_be_submitted(placed, nemo_run):
    assert describe_request(placed("dgxcloud")) == "bash /nemo_run/code/launch.sh"
    assert nemo_run.steps[-2:] == [("dry run", False, False), "left"]
    assert yaml.safe_load(describe_request(placed("skypilot"))) == {"num": 2}
    manifest = yaml.safe_load(describe_request(placed("kubeflow")))
    # NeMo-Run's own launch.sh would replace ours.
    command = ["bash", "/pvc/code/code/launch.sh"]
    assert manifest == {"kind": "TrainJob", "name": "sft", "command": command}
    assert list(manifest) == ["kind", "name", "command"]


def test_a_preview_has_the_request_only_where_it_is_asked_for(placed, nemo_run):
    placement = placed("dgxcloud")
    [shown] = preview([placement], script=True)
    assert shown.batch_script == "bash /nemo_run/code/launch.sh"
    assert ("dgxcloud", "client_secret = ***") in shown.options
    nemo_run.steps.clear()
    [shown] = preview([placement], script=False)
    assert (shown.batch_script, nemo_run.steps) == (None, [])


def test_nothing_is_left_in_the_folder_for_temporary_files(placed, nemo_run, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    run(placed("dgxcloud"))
    assert list((tmp_path / "temporary").iterdir()) == []
