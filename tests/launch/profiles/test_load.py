"""env.toml: what it may say, and what is answered when it says something else."""

import re
from pathlib import Path

import pytest

from nemotron.launch import ProfileError, load_profile, read_shared_environment
from nemotron.launch.profiles import env_file
from nemotron.secrets import mask_text

EXAMPLE = Path(__file__).parents[3] / "env.toml.example"

DOCUMENTED = """
[wandb]
project = "nemotron"
entity = "YOUR-TEAM"

[YOUR-CLUSTER]
executor = "slurm"
account = "YOUR-ACCOUNT"
partition = "batch"
nodes = 2
ntasks_per_node = 8
gpus_per_node = 8
mounts = ["/lustre:/lustre"]
"""


def write(work: Path, text: str) -> None:
    (work / "env.toml").write_text(text)


OF_THIS_MACHINE = """
identity = "~/.ssh/key"
remote_job_dir = "~/jobs"
install = ["~/mine.whl", "other"]
mounts = ["~/data:/data"]
[mine.prep]
mounts = ["~/raw:/raw"]
"""


@pytest.mark.parametrize(
    ("lines", "jobs", "mount", "raw"),
    [
        ('executor = "docker"\ncontainer_image = "image"', "/home/me/jobs", "/home/me/data:/data", "/home/me/raw:/raw"),
        ('executor = "slurm"', "/home/me/jobs", None, None),
        ('executor = "slurm"\ntunnel = "ssh"\nhost = "login"\nuser = "me"', "~/jobs", None, None),
    ],
)
def test_the_home_in_a_path_of_this_machine_is_written_out(work: Path, monkeypatch, lines, jobs, mount, raw):
    """On a cluster that is reached over ssh, jobs have another home."""
    monkeypatch.setenv("HOME", "/home/me")
    given = OF_THIS_MACHINE if mount else re.sub(r"(?m)^mounts.*\n", "", OF_THIS_MACHINE)
    write(work, f"[mine]\n{lines}{given}")
    profile = load_profile("mine")
    assert (profile.identity, profile.remote_job_dir) == ("/home/me/.ssh/key", jobs)
    assert profile.install == ("/home/me/mine.whl", "other")
    assert profile.mounts == ((mount,) if mount else ())
    assert profile.for_stage("prep").mounts == ((raw,) if raw else ())


def test_the_documented_file_works_as_it_is_written(work: Path):
    write(work, DOCUMENTED)
    profile = load_profile("YOUR-CLUSTER")
    assert (profile.account, profile.partition, profile.nodes) == ("YOUR-ACCOUNT", "batch", 2)
    assert profile.processes_per_node == 8
    assert profile.mounts == ("/lustre:/lustre",)
    assert profile.tunnel == "local"
    assert profile.env_vars == {"WANDB_PROJECT": "nemotron", "WANDB_ENTITY": "YOUR-TEAM"}


def test_the_example_works_with_every_option_uncommented(work: Path):
    option = re.compile(r"^# (\w+ = |\[)", re.MULTILINE)
    text = EXAMPLE.read_text()
    write(work, option.sub(r"\1", text))
    profile = load_profile("YOUR-CLUSTER")
    assert profile.tunnel == "ssh"
    assert profile.additional_parameters == {"reservation": "sft"}
    assert profile.for_stage("prep").partition == "cpu"
    assert profile.for_stage("sft").partition == "batch"
    assert load_profile("workstation").executor == "local"
    assert read_shared_environment()["NEMOTRON_ARTIFACTS"] == "/lustre/me/artifacts"


def test_the_file_is_found_from_the_folder_upwards(work: Path, monkeypatch: pytest.MonkeyPatch):
    write(work, DOCUMENTED)
    below = work / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert load_profile("YOUR-CLUSTER").source == work / "env.toml"


def test_the_variable_names_another_file(work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write(work, DOCUMENTED)
    elsewhere = tmp_path / "mine.toml"
    elsewhere.write_text('[mine]\nexecutor = "local"')
    monkeypatch.setenv("NEMOTRON_ENV_FILE", str(elsewhere))
    assert load_profile("mine").executor == "local"
    monkeypatch.setenv("NEMOTRON_ENV_FILE", str(tmp_path / "gone.toml"))
    with pytest.raises(ProfileError, match=r"NEMOTRON_ENV_FILE.*gone\.toml"):
        load_profile("mine")


def test_a_file_that_is_no_text_is_refused(work: Path):
    (work / "env.toml").write_bytes('[here]\naccount = "café"\n'.encode("latin-1"))
    with pytest.raises(ProfileError, match=r"env\.toml is not UTF-8"):
        load_profile("here")


def test_without_a_file_there_is_nothing_shared_and_no_profile(work: Path):
    assert read_shared_environment(work) == {}
    with pytest.raises(ProfileError, match=r"env\.toml\.example"):
        load_profile("dgx")


def test_a_mistyped_profile_gets_a_suggestion(work: Path):
    write(work, DOCUMENTED)
    with pytest.raises(ProfileError) as caught:
        load_profile("YOUR-CLUSTR")
    assert caught.value.hint == f'Did you mean "YOUR-CLUSTER"? Profiles in {work}/env.toml: YOUR-CLUSTER.'


def test_a_shared_table_is_no_profile(work: Path):
    write(work, DOCUMENTED)
    with pytest.raises(ProfileError, match="profile wandb"):
        load_profile("wandb")


MISTAKES = {
    'executor = "slurm"\npartitoin = "a"': ('env.toml:3: [here] has no key partitoin. Did you mean "partition"?'),
    'executor = "slrm"': "env.toml:2: executor = 'slrm'",
    'account = "a"': "env.toml:1: [here] has no executor",
    'executor = "slurm"\nnodes = "2"': "env.toml:3: nodes = '2'",
    'executor = "slurm"\nnodes = true': "env.toml:3: nodes = True",
    'executor = "slurm"\nnodes = 0': "env.toml:3: nodes = 0",
    'executor = "slurm"\nexclusive = "yes"': "env.toml:3: exclusive = 'yes'",
    'executor = "slurm"\nmounts = "/a:/a"': "env.toml:3: mounts = '/a:/a'",
    'executor = "slurm"\nmounts = ["/a"]': 'env.toml:3: the mount "/a"',
    'executor = "slurm"\nmounts = [":/a"]': 'env.toml:3: the mount ":/a"',
    'executor = "slurm"\nmounts = ["/a:b"]': 'env.toml:3: the mount "/a:b" is relative',
    'executor = "slurm"\nmounts = ["a:/b"]': 'env.toml:3: the mount "a:/b"',
    'executor = "slurm"\nworkdir = "./x"': "env.toml:3: workdir = './x'",
    'executor = "slurm"\ninstall = ["-i https://pypi"]': "env.toml:3: install = '-i https://pypi'",
    'executor = "slurm"\nappend = ["/a:/a"]': "env.toml:3: append should be a table",
    'executor = "slurm"\nappend = { partition = ["a"] }': "env.toml:3: partition is not a list",
    'executor = "slurm"\nappend = { mount = ["/a:/a"] }': 'env.toml:3: mount is not a list. Did you mean "mounts"?',
    'executor = "slurm"\nappend = { mounts = "/a:/a" }': "env.toml:3: append.mounts should be a list of texts",
    'executor = "slurm"\nappend = { mounts = ["/a:/a", 1] }': "env.toml:3: append.mounts should be a list of texts",
    'executor = "slurm"\nmounts = ["/a:/a", 1]': "env.toml:3: mounts = ['/a:/a', 1] should be a list of texts",
    'executor = "slurm"\ntime = "4h"': "env.toml:3: time = '4h'",
    'executor = "slurm"\nmem = "lots"': "env.toml:3: mem = 'lots'",
    'executor = "slurm"\naccount = "a\\n#SBATCH --uid=0"': "env.toml:3: account",
    'executor = "slurm"\npartition = "a\\u001b[2J"': "env.toml:3: partition has a line break or another control",
    'executor = "slurm"\nsrun_args = ["--x\\ntouch y"]': "env.toml:3: srun_args",
    'executor = "slurm"\nadditional_parameters = { "x=1 --uid" = 0 }': "additional_parameters = 'x=1 --uid'",
    'executor = "slurm"\nhost = "-oProxyCommand=x"': "env.toml:3: host = '-oProxyCommand=x'",
    'executor = "slurm"\nidentity = "k; touch x"': "env.toml:3: identity = 'k; touch x'",
    'executor = "slurm"\nstartup_commands = ["git clone https://me:s3cret@h/x"]': "startup_commands",
    'executor = "slurm"\nmounts = ["/a:/b,/c:/c"]': '"/a:/b,/c:/c"',
    'executor = "slurm"\nenv_vars = { "a-b" = "1" }': "env.toml:3: a-b",
    'executor = "slurm"\ntunnel = "ssh"\nuser = "me"': "host, remote_job_dir",
    'executor = "slurm"\n[here.prep]\nnode = 1': 'env.toml:4: [here.prep] has no key node. Did you mean "nodes"?',
    'executor = "slurm"\n[here.prep]\ntunnel = "ssh"': "env.toml:4: [here.prep] has no key tunnel",
    'executor = "slurm"\n[wandb]\nteam = "x"': "env.toml:4: [wandb] has no key team",
    "executor = slurm": "(at line 2, column 12)",
}


@pytest.mark.parametrize("lines", MISTAKES)
def test_mistakes_are_reported_with_file_and_line(work: Path, lines: str):
    write(work, f"[here]\n{lines}")
    with pytest.raises(ProfileError) as caught:
        load_profile("here")
    assert MISTAKES[lines] in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_key_before_the_first_table_is_refused(work: Path):
    write(work, 'account = "a"\n[here]\nexecutor = "local"')
    with pytest.raises(ProfileError, match=r"env\.toml:1: account"):
        load_profile("here")


def test_numbers_are_taken_for_text_where_slurm_wants_text(profile):
    assert profile("mem = 0", "time = 30").mem == "0"


def test_a_stage_changes_what_its_table_says_and_adds_variables(profile):
    variables = 'env_vars = { NCCL_DEBUG = "1", CUDA_CACHE_PATH = "1" }'
    whole = profile(variables, "nodes = 4", "[here.prep]", "nodes = 1", "env_vars = { CUDA_CACHE_PATH = 2 }")
    assert (whole.for_stage("prep").nodes, whole.for_stage("sft").nodes) == (1, 4)
    assert whole.for_stage("prep").env_vars == {"NCCL_DEBUG": "1", "CUDA_CACHE_PATH": "2"}
    assert whole.for_stage("sft").env_vars == {"NCCL_DEBUG": "1", "CUDA_CACHE_PATH": "1"}


def test_secret_variables_are_kept_apart_and_out_of_the_repr(profile):
    written = profile(
        'env_vars = { WANDB_API_KEY = "s3cret", TOKENIZERS_PARALLELISM = false }',
        "[here.prep]",
        'env_vars = { HF_TOKEN = "s3cret too" }',
    )
    assert written.secret_env_vars == {"WANDB_API_KEY": "s3cret"}
    assert written.env_vars == {"TOKENIZERS_PARALLELISM": "false"}
    assert written.for_stage("prep").secret_env_vars == {"WANDB_API_KEY": "s3cret", "HF_TOKEN": "s3cret too"}
    assert "s3cret" not in repr(written) + repr(written.for_stage("prep"))


def test_a_mistake_next_to_a_secret_does_not_show_it(work: Path):
    write(work, '[here]\nexecutor = "slurm"\nenv_vars = { HF_TOKEN = "s3cret", A = [1] }')
    with pytest.raises(ProfileError) as caught:
        load_profile("here")
    assert "env_vars" in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("time", ["30", "30:00", "04:00:00", "3-00", "3-00:00:00", "UNLIMITED"])
def test_times_as_slurm_writes_them(profile, time: str):
    assert profile(f'time = "{time}"').time == time


def test_data_prep_gets_cores_and_no_gpus_unless_it_says_otherwise(profile):
    node = profile("gpus_per_node = 8", 'gres = "gpu:8"', "ntasks_per_node = 8").for_stage("prep")
    assert (node.gpus_per_node, node.gres, node.exclusive) == (None, None, True)
    counted = profile("gpus_per_node = 8", "[here.prep]", "cpus_per_task = 4", "gpus_per_node = 1").for_stage("prep")
    assert (counted.gpus_per_node, counted.cpus_per_task, counted.exclusive) == (1, 4, None)
    assert profile("exclusive = false").for_stage("prep").exclusive is False
    assert profile("gpus_per_node = 8").for_stage("sft").gpus_per_node == 8


@pytest.mark.parametrize("value", ["s3://KEY:s3cret@bucket", "postgres://u:s3cret@h/d", "hf_s3cretS3CRETs3cret"])
def test_a_secret_under_an_innocent_name_is_kept_apart_too(profile, value: str):
    written = profile(f'env_vars = {{ HF_HOME = "{value}", WANDB_DIR = "http://host:80/path" }}')
    assert written.secret_env_vars == {"HF_HOME": value}
    assert written.env_vars == {"WANDB_DIR": "http://host:80/path"}


def test_a_variable_that_nobody_knows_is_handed_on_as_a_secret(profile):
    written = profile('env_vars = { MY_LOGIN = "me", OMP_NUM_THREADS = 4 }')
    assert written.secret_env_vars == {"MY_LOGIN": "me"}
    assert written.env_vars == {"OMP_NUM_THREADS": "4"}


def test_what_is_handed_on_as_a_secret_is_masked_elsewhere(profile, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("nemotron.secrets._remembered", set())
    profile('env_vars = { MY_LOGIN = "gulf-stream", NCCL_DEBUG = "information" }')
    assert mask_text("gulf-stream with information") == "*** with information"


@pytest.mark.parametrize(
    "line",
    [
        'startup_commands = ["export API_TOKEN=s3cret"]',
        'srun_args = ["--export=ALL,DB_PASSWORD=s3cret"]',
        'additional_parameters = { comment = "API_KEY=s3cret" }',
    ],
)
def test_a_secret_that_a_line_assigns_is_refused_without_showing_it(work: Path, line: str):
    write(work, f'[here]\nexecutor = "slurm"\n{line}')
    with pytest.raises(ProfileError, match=r"env\.toml:3") as caught:
        load_profile("here")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "line", ["export HF_TOKEN=$(cat ~/.token)", "API_KEY=`pass key` ./log-in", "MAX_TOKENS=5 ./warm"]
)
def test_a_line_may_read_a_secret_from_elsewhere(profile, line: str):
    assert profile(f'startup_commands = ["{line}"]').startup_commands == (line,)


BASE = """
[base]
executor = "slurm"
partition = "batch"
nodes = 2
mounts = ["/a:/a"]
env_vars = { NCCL_DEBUG = "1", HF_HOME = "hf_s3cretS3CRETs3cret" }
[base.prep]
cpus_per_task = 4
"""


def test_a_profile_extends_another(work: Path):
    more = '[big]\nextends = "base"\nnodes = 8\nmounts = ["/b:/b"]\nenv_vars = { HF_HOME = "2" }\n'
    write(work, f"{BASE}{more}[big.prep]\nmem = 0\n")
    big = load_profile("big")
    assert (big.partition, big.nodes, big.mounts) == ("batch", 8, ("/b:/b",))
    assert (big.env_vars, big.secret_env_vars) == ({"NCCL_DEBUG": "1", "HF_HOME": "2"}, {})
    assert (big.for_stage("prep").cpus_per_task, big.for_stage("prep").mem) == (4, "0")
    assert load_profile("base").nodes == 2


def test_env_toml_may_have_as_many_bytes_as_the_limit(work: Path, monkeypatch: pytest.MonkeyPatch):
    (work / "env.toml").write_text("[a]\n")
    monkeypatch.setattr(env_file, "LARGEST_FILE", 4)
    assert env_file.EnvFile(work / "env.toml").tables == {"a": {}}
    monkeypatch.setattr(env_file, "LARGEST_FILE", 3)
    with pytest.raises(ProfileError, match="4 bytes"):
        env_file.EnvFile(work / "env.toml")


def test_lists_are_added_to_where_append_says_so(work: Path):
    more = '[big]\nextends = "base"\nappend = { mounts = ["/b:/b"] }\n[big.sft]\nappend = { mounts = ["/c:/c"] }\n'
    write(work, BASE + more)
    big = load_profile("big")
    assert big.for_stage("prep").mounts == ("/a:/a", "/b:/b")
    assert big.for_stage("sft").mounts == ("/a:/a", "/b:/b", "/c:/c")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('extends = "bsae"', 'Did you mean "base"?'),
        ('extends = "big"', "extends"),
        ('extends = "base"\nappend = { nodes = ["1"] }', "nodes"),
        ('extends = "base"\nappend = { mounts = "/b:/b" }', "append.mounts"),
        ('extends = "base"\nappend = { mounts = ["b:/b"] }', '"b:/b" is relative'),
    ],
)
def test_mistakes_in_extending_are_named(work: Path, lines: str, words: str):
    write(work, f"{BASE}[big]\n{lines}\n")
    with pytest.raises(ProfileError) as caught:
        load_profile("big")
    assert words in str(caught.value)
    assert "env.toml:" in str(caught.value)


@pytest.mark.parametrize("text", [f"a = {'[' * 5000}{']' * 5000}", "#" * 5_000_000])
def test_a_file_that_would_fill_the_memory_is_refused(work: Path, text: str):
    write(work, text)
    with pytest.raises(ProfileError, match=r"env\.toml"):
        load_profile("here")
