"""Stages through NeMo-Run's own executors: what they are given, submitted for real to a service on loopback."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from nemotron.errors import UserError
from nemotron.launch import LaunchError, place, preview
from nemotron.launch.executors import passed_on
from nemotron.launch.executors.passed_on import check_packages, run_passed_on


class Service(BaseHTTPRequestHandler):
    """DGX Cloud as far as NeMo-Run's executor asks: a token, a project, a job that has succeeded."""

    def _answer(self, body: str = "") -> None:
        self.server.asked.append((self.path, body))  # type: ignore[attr-defined]
        answers = {
            "/token": {"accessToken": "t"},
            "/org-unit/projects": {"projects": [{"name": "p", "id": "1", "clusterId": "2"}]},
        }
        workload = {"workloadId": "w1", "actualPhase": self.server.phase}  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(answers.get(self.path, workload)).encode())

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers["Content-Length"])).decode())

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def service() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    server.asked, server.phase = [], "Completed"  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


@pytest.fixture
def dgx(profile, service: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch):
    """A profile of the service, whose secret comes from the environment."""
    monkeypatch.setenv("DGX_SECRET", "s3cret")
    return profile(
        f'base_url = "http://127.0.0.1:{service.server_port}"',
        'kube_apiserver_url = "https://k.invalid"',
        'client_id = "me"',
        'client_secret = "$DGX_SECRET"',
        'project_name = "p"',
        'container_image = "img"',
        'pvc_nemo_run_dir = "/pvc"',
        'pvcs = [{ path = "/pvc", claimName = "c" }]',
        "launched_from_cluster = true",  # nothing is copied, which takes ten seconds a file
        "gpus_per_node = 8",
        executor="dgxcloud",
    )


@pytest.mark.slow
@pytest.mark.parametrize("attached", [True, False])
def test_a_job_is_submitted_with_the_profiles_fields_and_leaves_no_secret(
    dgx, sft, service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attached: bool
):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    handles: list[str] = []
    code = run_passed_on(
        place([sft], dgx, attached=attached), attached=attached, on_submitted=lambda placed, job: handles.append(job)
    )
    assert code == 0
    assert handles[0].endswith("w1")
    [body] = [json.loads(body) for path, body in service.asked if path == "/workloads/trainings"]
    assert body["spec"]["image"] == "img"
    assert body["spec"]["compute"]["gpuDevicesRequest"] == 8
    assert "launch_script.sh" in body["spec"]["command"]
    left = [path for path in tmp_path.rglob("*") if path.is_file() and b"s3cret" in path.read_bytes()]
    assert left == []
    assert not list(tmp_path.glob("nemotron-*")), "NeMo-Run's files name the secret, compressed"


@pytest.mark.slow
def test_a_stage_that_failed_is_the_last(dgx, prep, sft, service):
    service.phase = "Failed"
    handles: list[str] = []
    placements = [*place([prep], dgx, attached=True), *place([sft], dgx, attached=True)]
    assert run_passed_on(placements, attached=True, on_submitted=lambda placed, job: handles.append(job)) == 1
    assert len(handles) == 1


@pytest.mark.slow
def test_what_the_executor_refuses_is_told_in_its_words(profile, sft, dgx, service):
    text = Path("env.toml").read_text()
    Path("env.toml").write_text(text.replace('pvcs = [{ path = "/pvc", claimName = "c" }]', ""))
    from nemotron.launch import load_profile

    with pytest.raises(UserError, match="PVC"):
        run_passed_on(place([sft], load_profile("here"), attached=True), attached=True, on_submitted=print)
    Path("env.toml").write_text(text.replace('"p"', '"q"'))
    with pytest.raises(LaunchError, match="project"):
        run_passed_on(place([sft], load_profile("here"), attached=True), attached=True, on_submitted=print)


@pytest.mark.slow
def test_a_plan_shows_the_command_and_no_secret(dgx, sft):
    [shown] = preview(place([sft], dgx, attached=True), script=True)
    assert ("dgxcloud", "client_secret = ***") in shown.options
    assert "/nemo_run/code/launch.sh" in str(shown.batch_script)


@pytest.mark.slow
def test_a_plan_for_kubeflow_is_its_manifest(profile, sft, monkeypatch: pytest.MonkeyPatch):
    """The client is not needed for a plan. NeMo-Run's script, which has the name of ours, starts ours."""
    kubeflow = pytest.importorskip("nemo_run.core.execution.kubeflow")
    monkeypatch.setattr(kubeflow, "_KUBERNETES_AVAILABLE", True)
    monkeypatch.setattr(kubeflow.KubeflowExecutor, "_load_kube_clients", lambda self: None)
    lines = ['image = "img"', 'workdir_pvc = "c"', "num_nodes = 2", "gpus_per_node = 4"]
    [placed] = place([sft], profile(*lines, executor="kubeflow"), attached=True)
    trainer = yaml.safe_load(passed_on.describe_request(placed))["spec"]["trainer"]
    assert (trainer["image"], trainer["numNodes"], trainer["numProcPerNode"]) == ("img", 2, 4)
    with passed_on.open_experiment(placed) as experiment:
        experiment.dryrun(log=False, delete_exp_dir=False)
        folder = Path(experiment.jobs[0].executor.job_dir)
        code_dir = experiment.jobs[0].executor.code_dir
        assert f"bash {code_dir}/code/launch.sh" in (folder / "launch.sh").read_text()
        assert "--node-rank=$NODE_RANK" in (folder / "code" / "launch.sh").read_text()


def test_a_variable_that_is_not_set_is_named(dgx, sft, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("DGX_SECRET")
    with pytest.raises(UserError, match="DGX_SECRET"):
        passed_on.make_options(place([sft], dgx, attached=True)[0])


def test_a_missing_package_is_named_with_what_to_install(profile, sft, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    [problem] = check_packages(place([sft], profile("num_nodes = 1", executor="skypilot"), attached=True))
    assert "skypilot" in problem.message
    assert "nemo_run[skypilot]" in problem.hint


def test_the_usual_secrets_are_not_handed_on(profile, sft, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_TOKEN", "s3cret")
    [placed] = place([sft], profile("num_nodes = 1", executor="skypilot"), attached=True)
    assert placed.secrets == {}
    assert passed_on.find_unsent_secrets(placed) == ["HF_TOKEN"]


def test_what_cannot_be_left_alone_is_waited_for(profile, sft):
    with pytest.raises(UserError, match="--run here"):
        place([sft], profile('image = "i"', 'workdir_pvc = "c"', executor="kubeflow"), attached=False)


def test_two_stages_need_a_shared_folder_and_someone_who_waits(profile, prep, sft):
    with pytest.raises(UserError, match="workdir"):
        place([prep, sft], profile("num_nodes = 1", executor="skypilot"), attached=True)
    with pytest.raises(UserError, match="--stage"):
        place([prep, sft], profile('workdir = "/shared"', executor="skypilot"), attached=False)
