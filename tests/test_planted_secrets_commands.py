"""A token planted in the profiles, arguments, folders and answers that every other command sees."""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import huggingface_hub.constants  # before a fixture sets HF_HUB_OFFLINE: the library reads it once
import pytest
from tests.test_planted_secrets import PLANTED, leaks, planted  # noqa: F401
from tests.training.checkpoints.made_up import write_checkpoint

from nemotron.cli import completion
from nemotron.cli.app import run
from nemotron.launch import Job, JobState, Profile, Submission
from nemotron.launch.jobs import records
from nemotron.lineage import log_artifact

pytestmark = pytest.mark.usefixtures("planted", "offline")
URL = "https://me:PLANTED20pw@127.0.0.1:9/x"
PROFILES = {
    "account": '"hf_PLANTEDaccount21"',
    "container_image": f'"{URL}"',
    "mounts": '["/a:/hf_PLANTEDmount22"]',
    "workdir": '"/hf_PLANTEDmount22"',
    "python": '"/hf_PLANTEDmount22/python"',
    "startup_commands": '["export API_TOKEN=PLANTED23start"]',
    "install": f'["git+{URL}"]',
    "env_vars": '{ MY_LOGIN = "PLANTED24login", MY_TOKEN = "PLANTED25token", DB = "postgres://u:PLANTED26pw@h/d" }',
    "additional_parameters": '{ comment = "hf_PLANTEDcomment27", export = "MY_SECRET=PLANTED28" }',
    "srun_args": '["--export=MY_SECRET=PLANTED28"]',
    "host": f'"{URL}"',
    "remote_job_dir": '"/tmp/hf_PLANTEDmount22"',
    "time": '"hf_PLANTEDtime29"',
    "nodes": '"hf_PLANTEDtime29"',
    "extends": '"hf_PLANTEDtime29"',
    "hf_PLANTEDkey30": '"x"',
    "api_key": '"PLANTED31key"',
    "append": '{ mounts = "hf_PLANTEDappend32" }',
}
NAMES = ["hf_PLANTEDname33", URL, "ModelArtifact-hf_PLANTEDname33", "org/hf_PLANTEDname33", "PLANTED04password"]
"""What somebody may paste where a name or a path belongs."""
COMMANDS = [
    pytest.param("super3 model chat NAME -p hi", marks=pytest.mark.slow),  # asks the hub, again and again
    "super3 model import NAME",
    "super3 model export NAME",
    "super3 model export run --push NAME",
    "super3 model export run --push org/x --revision NAME",
    "super3 data import NAME",
    "super3 data inspect NAME",
    "super3 data verify NAME",
    "super3 data blend check NAME",
    "super3 data rollouts NAME",
    "super3 data prep sft -c tiny chat_template=NAME",
    pytest.param("super3 data prep sft -c tiny tokenizer.model=NAME", marks=pytest.mark.slow),
    "super3 data prep sft -c tiny NAME=1",
    "super3 report NAME",
    "super3 sft -c NAME",
    "super3 sft -c tiny run.data=NAME",
    "super3 sft -c tiny run.model=NAME --dry-run",
    "super3 sft -c tiny --batch NAME",
    "artifacts show NAME",
    "artifacts lineage NAME",
    "logs NAME",
    "cancel NAME",
    "config schema NAME",
    "NAME",
]
LOGGERS = [
    ["logger.mlflow_experiment=x", f"logger.mlflow_tracking_uri={URL}"],
    ["logger.mlflow_experiment=hf_PLANTEDe34", "logger.mlflow_tags={token: PLANTED35t}"],
    ["logger.comet_project=hf_PLANTEDp36"],
    ["logger.comet_project=x", "logger.comet_api_key=PLANTED37k"],
]


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's library is offline here, and again what it was for the tests that come after."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


def printed_by(capfd: pytest.CaptureFixture[str]) -> str:
    captured = capfd.readouterr()
    return captured.out + captured.err


@pytest.mark.parametrize("key", PROFILES)
def test_no_key_of_a_profile_shows_one(key, tmp_path, tmp_path_factory, monkeypatch, capfd):
    file = tmp_path_factory.mktemp("profiles") / "env.toml"
    file.write_text(f"[here]\n{key} = {PROFILES[key]}\n")
    monkeypatch.setenv("NEMOTRON_ENV_FILE", str(file))
    for options in (["--dry-run"], ["--dry-run", "--json"], ["--dry-run", "--script"]):
        run(["super3", "data", "prep", "sft", "-c", "tiny", "--batch", "here", *options])
    run(["profiles"])
    printed = printed_by(capfd)
    assert printed
    assert PLANTED not in printed
    assert leaks(tmp_path) == {}


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_repeats_one_that_is_given_for_a_name(command, tmp_path, capfd):
    for name in NAMES:
        assert run([name if word == "NAME" else word.replace("NAME", name) for word in command.split()]) != 0
    printed = printed_by(capfd)
    assert "error" in printed
    assert PLANTED not in printed
    assert leaks(tmp_path) == {}


@pytest.mark.parametrize("settings", LOGGERS)
def test_no_plan_shows_those_of_mlflow_and_comet(settings, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("COMET_API_KEY", "PLANTED38comet")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", URL)
    for options in (["--dry-run"], ["--dry-run", "--json"], ["--dry-run", "--compare"], []):
        run(["super3", "sft", "-c", "tiny", "run.data=missing", *settings, *options])
    assert PLANTED not in printed_by(capfd)
    assert leaks(tmp_path) == {}


def test_jobs_and_logs_show_none_that_a_job_wrote(tmp_path, monkeypatch, capfd):
    said = f"hf_PLANTEDlog39 {URL} PLANTED04password \033[31m"
    (tmp_path.parent / "log-a.sft_41_0.out").write_text(f"iteration 1 {said}\nof a bar\r50 %\r100 %\n")
    monkeypatch.setattr(records, "ask_state", lambda shell, job: JobState("PENDING", node=said, reason=said))
    job = Job("sft", "41", str(tmp_path.parent))
    records.keep(Submission("sft_1", Profile("slurm", name="here"), (job,), object()))
    assert (run(["jobs"]), run(["logs", "41"])) == (0, 0)
    printed = printed_by(capfd)
    assert printed.endswith("of a bar\n50 %\n100 %\n")
    assert PLANTED not in printed
    assert "\033" not in printed


def test_completion_offers_none(tmp_path, monkeypatch, capfd):
    (tmp_path / "hf_PLANTEDfile40.jsonl").touch()
    (tmp_path / "env.toml").write_text('[hf_PLANTEDprofile41]\nexecutor = "local"\n[here]\nexecutor = "local"\n')
    (tmp_path / "output/artifacts/ModelArtifact-hf_PLANTEDname42").mkdir(parents=True)
    for line in ("super3 sft --batch ", "super3 sft run.model=", "super3 data inspect ", "artifacts show "):
        monkeypatch.setenv("COMP_WORDS", f"nemotron {line}")
        monkeypatch.setenv("COMP_CWORD", str(len(line.split(" "))))
        for shell in ("bash", "zsh", "fish"):
            monkeypatch.setenv(completion.VARIABLE, f"complete_{shell}")
            run([])
    printed = printed_by(capfd)
    assert "here" in printed
    assert PLANTED not in printed


def test_a_record_of_foreign_metadata_has_none(tmp_path, capfd):
    metadata = {"source": URL, "hf_token": "PLANTED43token", "notes": ["hf_PLANTEDnote44"], "eos_token": "</s>"}
    (tmp_path / "data").mkdir()
    log_artifact(name="A", type="dataset", path=tmp_path / "data", root=tmp_path / "records", metadata=metadata)
    assert run(["artifacts", "show", "A", "--artifacts", str(tmp_path / "records"), "--json"]) == 0
    printed = printed_by(capfd)
    assert "</s>" in printed
    assert PLANTED not in printed
    assert leaks(tmp_path) == {}


@pytest.fixture
def echo(monkeypatch):
    """The address of a hub that answers with an error, which repeats all that it was sent."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            known = "whoami" in self.path
            said = f"{self.path} {dict(self.headers)}".replace("\n", " ")
            body = json.dumps({"name": "me", "type": "user"} if known else {"error": said}).encode()
            self.send_response(200 if known else 400)
            for header in ("X-HF-Warning", "X-Error-Message", "X-Request-Id"):
                self.send_header(header, f"auth; {said}")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_PUT = do_HEAD = do_GET

        def log_message(self, format, *_): ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://me:PLANTED45pw@127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


PUSH = """
import sys, pathlib
import nemotron.training.weights.export_hf as export_hf
from nemotron.cli.app import main

def export(_, target, *rest):
    target.mkdir()
    (target / "config.json").write_text("{}")

export_hf.export_hf = export
sys.argv = ["nemotron", *sys.argv[1:]]
main()
"""
"""The command, with a model that takes no time to export."""


@pytest.mark.slow
@pytest.mark.parametrize("endpoint", ["echo", "http://me:PLANTED46pw@127.0.0.1:9"])
def test_pushing_to_a_hub_that_repeats_what_it_is_sent_shows_none(endpoint, echo, tmp_path):
    write_checkpoint(tmp_path / "run/checkpoints", 40, {"tokenizer": {"tokenizer_model": "words"}})
    (tmp_path / "run/run.json").write_text('{"hf_model": "tiny_model"}')
    environment = {**os.environ, "HF_HUB_OFFLINE": "0", "HF_ENDPOINT": echo if endpoint == "echo" else endpoint}
    command = [sys.executable, "-c", PUSH, "super3", "model", "export", "run", "--push", "org/x"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "hf upload" in done.stderr
    assert PLANTED not in done.stdout + done.stderr
    assert leaks(tmp_path) == {}


@pytest.mark.parametrize("options", [[], ["--debug"]])
def test_a_traceback_has_none(options, tmp_path):
    code = (
        "import sys\nfrom nemotron.cli import app\n"
        "def fail(*_): raise ValueError('hf_PLANTEDvalue47 and PLANTED04password')\n"
        "app.arrange = fail\napp.main()"
    )
    command = [sys.executable, "-c", code, *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "ValueError: *** and ***" in done.stderr
    assert PLANTED not in done.stdout + done.stderr
