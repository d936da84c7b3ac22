"""Which keys a table of env.toml may have, for each executor, and which of them a stage may change."""

import pytest

from nemotron.launch import ProfileError
from nemotron.launch.profiles.fields import executor_fields
from nemotron.launch.profiles.tables import KEYS

NEEDED = {
    "skypilot": [],
    "skypilot_jobs": [],
    "lepton": ['container_image = "i"', 'nemo_run_dir = "/r"'],
    "dgxcloud": [
        *(f'{key} = "x"' for key in ("base_url", "kube_apiserver_url", "client_id", "client_secret", "project_name")),
        *('container_image = "i"', 'pvc_nemo_run_dir = "/r"'),
    ],
    "kubeflow": ['image = "i"', 'workdir_pvc = "p"'],
}
"""Keys without which NeMo-Run's executors cannot submit."""


@pytest.mark.parametrize("executor", NEEDED)
def test_an_executor_of_nemo_run_takes_what_every_job_has(profile, executor: str):
    lines = ['workdir = "/w"', 'python = "py"', 'startup_commands = ["a\\nb"]', 'install = ["x"]']
    written = profile(*NEEDED[executor], *lines, 'env_vars = { NCCL_DEBUG = "1" }', executor=executor)
    assert written.is_passed_on
    assert (written.workdir, written.python, written.startup_commands) == ("/w", "py", ("a\nb",))
    assert (written.install, written.env_vars) == (("x",), {"NCCL_DEBUG": "1"})


@pytest.mark.parametrize("executor", NEEDED)
def test_an_executor_of_nemo_run_exposes_secrets_so_another_way_is_named(profile, executor: str):
    for line in ('secrets = ["MINE"]', 'env_vars = { HF_TOKEN = "x" }'):
        with pytest.raises(ProfileError, match=line.split()[0]) as caught:
            profile(*NEEDED[executor], line, executor=executor)
        assert "the service's own way" in str(caught.value.hint)


@pytest.mark.parametrize("executor", NEEDED)
def test_what_we_set_of_an_executor_is_no_key(executor: str):
    read = set(executor_fields(executor))
    assert len(read) > 10
    assert not read & {"packager", "launcher", "env_vars", "experiment_id", "job_dir"}


def test_fields_of_an_executor_may_be_secret_and_have_several_lines(profile):
    written = profile(*NEEDED["dgxcloud"], 'custom_spec = { a = "1\\n2" }', executor="dgxcloud")
    assert written.options["custom_spec"] == {"a": "1\n2"}
    assert "client_secret" not in repr(written)


@pytest.mark.parametrize("key", ["name", "source", "secret_env_vars", "stage_overrides", "options"])
def test_what_is_found_out_about_a_profile_is_no_key(key: str):
    assert key not in KEYS


@pytest.mark.parametrize(
    "line",
    ['executor = "local"', 'tunnel = "ssh"', 'host = "h"', 'user = "u"', "port = 22", 'identity = "k"',
     'remote_job_dir = "/j"'],
)  # fmt: skip
def test_both_stages_go_to_one_cluster(profile, line: str):
    with pytest.raises(ProfileError, match=f"has no key {line.split()[0]}"):
        profile("[here.prep]", line)


@pytest.mark.parametrize("time", [":30", "30:", "-3", "3-", "3-x", "1:2:3:4", "4 h", "infinity"])
def test_a_time_that_slurm_would_refuse_is_refused(profile, time: str):
    with pytest.raises(ProfileError, match="time = "):
        profile(f'time = "{time}"')


@pytest.mark.parametrize(
    ("mem", "is_taken"), [("200G", True), ("10mb", True), ("0", True), ("G", False), ("1Gx", False)]
)
def test_memory_is_a_number_and_a_unit(profile, mem: str, is_taken: bool):
    if is_taken:
        assert profile(f'mem = "{mem}"').mem == mem
    else:
        with pytest.raises(ProfileError, match="mem = "):
            profile(f'mem = "{mem}"')


def test_a_job_has_one_node_unless_it_asks_for_more(profile):
    assert (profile().nodes, profile("nodes = 2").nodes) == (1, 2)
