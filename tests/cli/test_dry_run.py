"""What a dry run imports, shows, refuses and prints for programs."""

import importlib
import json
import subprocess
import sys

import pytest

from nemotron.cli.app import run
from nemotron.cli.dry_run import Report
from nemotron.launch.profiles import env_file

COMMANDS = (["super3", "data", "prep", "sft"], ["super3", "sft"], ["super3", "pipe"])
# Runs a command line and prints, last, which of the heavy packages it imported.
IMPORTS = """
import sys
from nemotron.cli.app import run
code = run(sys.argv[1:])
print(code, sorted({"torch", "megatron", "nemo_run", "transformers"} & set(sys.modules)))
"""


@pytest.fixture
def data(prepare_tiny):
    """The tiny data, prepared."""
    prepare_tiny()


@pytest.fixture
def env_toml(tmp_path):
    text = '[here]\nexecutor = "slurm"\naccount = "a"\npartition = "p"\ngpus_per_node = 4\ncontainer_image = "i"\n'
    (tmp_path / "env.toml").write_text(text)


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("where", [[], ["--batch", "here"]], ids=["here", "profile"])
def test_a_dry_run_imports_nothing_heavy(data, env_toml, command, where):
    line = [sys.executable, "-c", IMPORTS, *command, "-c", "tiny", "--dry-run", *where]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []", done.stdout + done.stderr


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("where", [[], ["--run", "here"]], ids=["here", "profile"])
def test_env_toml_is_read_once(data, env_toml, capsys, monkeypatch, command, where):
    read = []

    class Counted(env_file.EnvFile):
        def __init__(self, path):
            read.append(path.name)
            super().__init__(path)

    monkeypatch.setattr(env_file, "EnvFile", Counted)
    assert run([*command, "-c", "tiny", "--dry-run", *where]) == 0
    assert read == ["env.toml"]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("where", [[], ["--run", "here"]], ids=["here", "profile"])
def test_json_is_one_object(data, env_toml, capsys, command, where):
    assert run([*command, "-c", "tiny", "--dry-run", "--json", *where]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["command"] == " ".join(command)
    assert found["problems"] == []
    if "prep" in command or "pipe" in command:
        assert found["data_prep_plan"]["datasets"][0]["name"] == "tiny_chat"
        assert found["data_prep_config"]["values"]["pack_size"] == {
            "value": 1024,
            "from": "config/data_prep/tiny.yaml:12",
        }
    if "prep" not in command:
        assert found["training_plan"]["train_iters"] == 60
    if where:
        assert found["stages"][-1]["launch_script"].startswith("#!/usr/bin/env bash\n")
        assert found["stages"][-1]["container"] == "i"


def test_a_stage_is_a_table_and_scripts_below_their_titles(capsys):
    with Report("nemotron x") as report:
        report.stage("sft", [("nodes", "2")], {"launch script": "#!/bin/bash\n", "sbatch": "#SBATCH\n"})
    lines = [line.strip() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert lines[0] == "Stage sft"
    assert lines[1].split() == ["nodes", "2"]
    assert lines[2:6] == ["launch script", "#!/bin/bash", "sbatch", "#SBATCH"]


def test_a_refusal_is_the_exit_code_and_is_in_the_json(data, env_toml, capsys):
    line = ["super3", "sft", "-c", "tiny", "--dry-run", "--json", "--run", "here", "train.global_batch_size=6"]
    assert run(line) == 1
    [problem] = json.loads(capsys.readouterr().out)["problems"]
    assert "train.global_batch_size" in problem["message"]


def test_a_mistake_in_the_config_is_in_the_json_too(capsys):
    assert run(["super3", "sft", "-c", "tiny", "--dry-run", "--json", "train.train_itres=3"]) == 1
    shown = capsys.readouterr()
    assert "train_itres" in json.loads(shown.out)["problems"][0]["message"]
    assert shown.err == ""


def test_data_that_is_not_there_is_said_without_standing_in_the_way_of_pipe(capsys):
    assert run(["super3", "pipe", "-c", "tiny", "--dry-run", "--json"]) == 0
    assert "SFTDataArtifact-sft:tiny: not found" in json.loads(capsys.readouterr().out)["artifacts"]["run_data"]


def test_the_comparison_with_the_recipe_is_made_when_asked_for(data, capsys):
    assert run(["super3", "sft", "-c", "tiny", "--dry-run", "--json"]) == 0
    assert not any("recipe" in key for key in json.loads(capsys.readouterr().out))
    assert run(["super3", "sft", "-c", "tiny", "--dry-run", "--json", "--compare"]) == 0
    changes = json.loads(capsys.readouterr().out)["differs_from_megatron_bridge_s_recipe"]
    assert changes == {"optimizer.lr": {"here": 1e-05, "recipe": 5e-06}}


@pytest.mark.parametrize("option", ["--script", "--compare", "--json"])
def test_options_of_a_dry_run_need_one(option, capsys):
    assert run(["super3", "sft", "-c", "tiny", option]) == 2
    assert option in capsys.readouterr().err


@pytest.fixture
def stages(monkeypatch):
    """What the commands of the two stages are called with."""
    pipe, calls = importlib.import_module("nemotron.cli.super3.pipe"), []
    for name in ("sft", "prep_sft"):
        monkeypatch.setattr(
            pipe, name, lambda *arguments, name=name, **options: calls.append((name, arguments, options))
        )
    return calls


def test_one_stage_of_a_pipe_gets_all_that_was_asked_for(stages):
    asked = ["super3", "pipe", "-c", "tiny", "--dry-run", "--json", "train.train_iters=30", "pack_size=2048"]
    assert run([*asked, "--stage", "sft"]) == 0
    [(name, (overrides, config, *flags), options)] = stages
    assert (name, config, flags) == ("sft", "tiny", [None, None, True])
    assert "train.train_iters=30" in overrides
    assert options == {"script": False, "compare": False, "as_json": True}
    stages.clear()
    assert run([*asked, "--stage", "prep", "--sample", "5", "--force"]) == 0
    [(name, (overrides, config, *flags), options)] = stages
    assert (name, config, options) == ("prep_sft", "tiny", {})
    assert overrides == ["pack_size=2048"]
    assert flags == [None, None, True, False, True, "5", True]
    stages.clear()
    assert run([*asked, "--stage", "prep", "--prep-config", "other"]) == 0
    assert stages[0][1][1] == "other"
