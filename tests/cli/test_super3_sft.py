"""`sft` and `pipe`, with the trainer itself replaced: it needs minutes, and has its own tests."""

import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.training.checkpoints.made_up import write_checkpoint

import nemotron.launch
import nemotron.training.run
from nemotron.cli.app import run
from nemotron.cli.super3.sft import _Reporter, says_what_is_saved, show_result, train_here
from nemotron.config import load_config
from nemotron.training import prepared_data
from nemotron.training.config import SftConfig
from nemotron.training.objective.loss import Schedule, Stage


def record(iteration, stage, loss):
    return {
        "iteration": iteration, "loss_stage": stage, "lm_loss": loss, "token_loss": loss, "sample_loss": loss + 1,
        "lr": 1e-3, "seconds": 0.5,
    }  # fmt: skip


RECORDS = [record(1, "token", 7.0), record(2, "sample", 5.0)]


def plan(*stages, length=("train.train_iters", 2)):
    return SimpleNamespace(train_iters=2, schedule=Schedule(stages), length=length)


@pytest.fixture
def trained(monkeypatch):
    """The configs that training was called with."""
    calls = []

    def train(loaded, on_record):
        calls.append(loaded)
        on_record("start", {"train_iters": 2, "finished": 0, "notes": ["The valid split is empty: no validation."]})
        for one in RECORDS:
            on_record("train", one)
        on_record("valid", {"iteration": 2, "token_loss": 6.0, "sample_loss": 6.5})
        return SimpleNamespace(
            plan=plan(Stage("token", 0), Stage("sample", 1)), stopped=False,
            output_dir=Path("out"), checkpoint=Path("out/checkpoints"), metrics=Path("out/metrics.jsonl"),
            records=RECORDS, validation=[{"token_loss": 6.0, "sample_loss": 6.5}], test=[], resumed_from=0,
            finished=2, report=Path("out/report.html"), artifact="ModelArtifact-sft:v1", hf_folder=None,
        )  # fmt: skip

    monkeypatch.setattr(nemotron.training.run, "train", train)
    monkeypatch.setattr(sys.modules[train_here.__module__], "refuse_before_torch", lambda loaded: None)
    monkeypatch.setattr(nemotron.launch, "count_processes", lambda nproc: 1)
    return calls


def test_sft_trains_shows_progress_and_says_what_it_made(trained, capsys):
    assert run(["super3", "sft", "-c", "tiny", "train.train_iters=2"]) == 0
    assert trained[0].config.train["train_iters"] == 2
    shown = capsys.readouterr()
    for expected in (
        r"note: .*valid",
        r"Iteration 1: .*token",
        r"Iteration 2: .*sample",
        r"alidation .* 2: .*6\.0000, .*6\.5000",
        r"2 of 2 iterations, loss 5\.0000",
    ):
        assert re.search(expected, shown.err), expected
    lines = [line.split() for line in shown.out.splitlines()]
    assert ["token", "loss", "7.0000", "->", "5.0000"] in lines
    assert ["checkpoint", "out/checkpoints"] in lines
    assert ["artifact", "ModelArtifact-sft:v1"] in lines
    assert "nemotron super3 model export out" in shown.out
    # Twice as long, with the stage where it was: a fraction of train_iters would have moved.
    assert "train.train_iters=4 'loss.stages=[{average: token, start: 0}, {average: sample, start: 1}]'" in shown.out
    assert "open out/report.html" in shown.out


@pytest.fixture
def started(monkeypatch):
    """What torchrun was called with, on a machine with eight GPUs."""
    calls = []
    monkeypatch.setattr(nemotron.launch, "count_processes", lambda nproc: 8)
    monkeypatch.setattr(nemotron.launch, "count_gpus", lambda: 8)
    monkeypatch.setattr(nemotron.launch, "torchrun", lambda *arguments: calls.append(arguments) or 3)
    return calls


@pytest.fixture
def looked(monkeypatch):
    """An entry for each time that prepared data was looked up."""
    looked, find_data = [], prepared_data.find_data
    monkeypatch.setattr(prepared_data, "find_data", lambda *arguments: looked.append(1) or find_data(*arguments))
    return looked


def test_several_gpus_are_torchruns_and_its_exit_code_is_ours(trained, started, monkeypatch):
    monkeypatch.setattr(sys.modules[train_here.__module__], "refuse_with_torch", lambda loaded, found: None)
    assert run(["super3", "sft", "-c", "tiny", "train.train_iters=2"]) == 3
    assert started == [(["--config", "tiny", "train.train_iters=2"], 8)]
    assert not trained


def test_what_a_run_needs_is_looked_at_once_before_torchrun_starts(prepare_tiny, started, looked, monkeypatch):
    prepare_tiny()
    monkeypatch.setattr("nemotron.training.backend._sees_gpu", lambda: False)
    assert run(["super3", "sft", "-c", "tiny", "train.global_batch_size=8"]) == 3
    assert looked == [1]


def test_what_is_refused_is_said_before_torchrun_starts_all_of_it(started, capsys):
    assert run(["super3", "sft", "-c", "tiny"]) == 1
    shown = capsys.readouterr().err
    assert "nemotron super3 data prep sft -c tiny" in shown
    assert "train.global_batch_size=4" in shown
    assert not started


def test_what_does_not_depend_on_the_machine_is_refused_before_torch_is_imported():
    """All of it: the missing data, and a setting that fits no data."""
    words = ["super3", "sft", "-c", "tiny", "checkpoint.save_interval=0"]
    code = f"import sys; from nemotron.cli.app import run; run({words!r}); print('torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "False\n"
    assert "nemotron super3 data prep sft -c tiny" in shown.stderr
    assert "checkpoint.save_interval" in shown.stderr


def test_sft_dry_run_without_data_says_what_makes_it(trained, capsys):
    assert run(["super3", "sft", "-c", "tiny", "--dry-run"]) == 1
    shown = capsys.readouterr()
    assert "run.data" in shown.out
    assert "nemotron super3 data prep sft -c tiny; " in shown.err
    assert "nemotron super3 data import DIR" in shown.err
    assert not trained


def test_layouts_that_fit_are_listed_with_overrides_to_copy(tmp_path, capsys):
    """128 GPUs and packs of 262,144 tokens, asked before there is data or a model."""
    command = ["super3", "sft", "--dry-run", "--advise", "run.nproc_per_node=128", "dataset.seq_length=262144"]
    run(command)
    shown = capsys.readouterr().out
    assert re.search(r"128 .*80 GB.* 262,144", shown)
    assert "model.context_parallel_size=" in shown
    assert "across nodes: " in shown
    run([*command, "--json"])
    listed = json.loads(capsys.readouterr().out)
    [layouts] = [part["layouts"] for name, part in listed.items() if name.startswith("layouts_for")]
    assert layouts[0]["memory"]["weights"] > 0


def test_pipe_prepares_then_trains_on_what_it_made(trained, tmp_path, capsys):
    line = ["super3", "pipe", "-c", "tiny", "--sample", "12", "workers=1", "train.train_iters=2", "pack_size=512"]
    assert run(line) == 0
    config = trained[0].config
    assert config.run.data == "SFTDataArtifact-sft-sample:tiny"
    assert config.train["train_iters"] == 2
    shown = capsys.readouterr().out
    assert shown.index("Prepared") < shown.index("Fine-tuned")
    assert (tmp_path / "output/artifacts/SFTDataArtifact-sft-sample/v1.json").is_file()


def test_pipe_dry_run_shows_both_configs_and_plans(trained, tmp_path, capsys):
    assert run(["super3", "pipe", "-c", "tiny", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    for part in ("Data prep config", "Training config", "Data prep plan", "Training plan", "This was a dry run"):
        assert part in shown
    assert not list(tmp_path.iterdir())


def test_pipe_refuses_what_the_prepared_data_could_not_be_trained_with(tmp_path, capsys):
    divided = ["super3", "pipe", "-c", "tiny", "model.context_parallel_size=2", "run.backend=cpu"]
    for line in (divided, [*divided, "--dry-run"]):
        assert run(line) == 1
        assert "pad_to_multiple=4" in capsys.readouterr().err
    # The tokenizer of the data is known when its plan is made.
    words = ["recipe.hf_model=nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-BF16", "--dry-run"]
    assert run(["super3", "pipe", "-c", "tiny", *words]) == 1
    assert "131,072" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_pipe_counts_the_plan_of_data_that_is_there_only_if_it_would_be_made_again(prepare_tiny, looked, capsys):
    line = ["super3", "pipe", "-c", "tiny", "workers=1", "--dry-run"]
    prepare_tiny()
    for settings, counted in (([], True), (["pack_size=2048"], False)):
        capsys.readouterr()
        assert run([*line, *settings]) == 0
        assert ("averages over" in capsys.readouterr().out) is counted
    assert looked == [1, 1]


def test_pipe_with_a_config_that_only_training_has_prepares_with_the_default(trained, capsys):
    assert run(["super3", "pipe", "-c", "lora", "blend_path=nowhere.json", "--dry-run"]) == 1
    shown = capsys.readouterr()
    assert "config/data_prep/default.yaml" in shown.out
    assert "nowhere.json" in shown.err


def test_pipe_with_a_config_of_ones_own_prepares_as_the_one_it_inherits_from(trained, tmp_path, capsys):
    (tmp_path / "between.yaml").write_text("defaults: [lora, tiny]\n")
    (tmp_path / "mine.yaml").write_text("defaults: between\n")
    assert run(["super3", "pipe", "-c", "mine.yaml", "--dry-run"]) == 0
    assert "config/data_prep/tiny.yaml" in capsys.readouterr().out


def test_pipe_takes_data_as_prep_does(trained, tmp_path, capsys):
    (tmp_path / "chats.jsonl").write_text('{"messages": []}\n')
    run(["super3", "pipe", "chats.jsonl", "-c", "tiny", "--dry-run"])
    assert "chats.jsonl" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "command_of_key"),
    [("sft pack_size=4", "data prep sft pack_size="), ("data prep sft train.train_iters=3", "sft train.train_iters=")],
)
def test_a_setting_of_the_other_stage_is_sent_there(trained, capsys, command, command_of_key):
    assert run(["super3", *command.split(), "-c", "tiny"]) == 1
    assert f"nemotron super3 {command_of_key}" in capsys.readouterr().err


def test_pipe_refuses_two_places_for_artifacts(trained, tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text("defaults: tiny\nrun: {artifacts: elsewhere}\n")
    assert run(["super3", "pipe", "-c", "mine.yaml", "--prep-config", "tiny"]) == 1
    assert "elsewhere" in capsys.readouterr().err
    assert not trained


def test_what_env_toml_sets_for_everybody_holds_here_too(trained, tmp_path, monkeypatch):
    (tmp_path / "env.toml").write_text('[artifacts]\nroot = "/shared/artifacts"\n')
    monkeypatch.setenv("NEMOTRON_ARTIFACTS", "")
    monkeypatch.delenv("NEMOTRON_ARTIFACTS")  # so that what the command sets is undone after the test
    assert run(["super3", "sft", "-c", "tiny"]) == 0
    assert trained[0].config.run.artifacts == "/shared/artifacts"


@pytest.mark.parametrize("command", ["sft", "pipe"])
def test_a_run_without_a_starting_model_is_refused_before_anything_is_done(command, tmp_path, capsys):
    assert run(["super3", command, "run.nproc_per_node=8"]) == 1
    assert "nemotron super3 model import nvidia/" in capsys.readouterr().err
    assert not (tmp_path / "output").exists()


@pytest.mark.parametrize("command", ["sft", "pipe"])
def test_a_backend_that_is_not_here_is_refused_before_anything_is_done(command, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert run(["super3", command, "-c", "tiny", "run.backend=torch"]) == 1
    assert "run.backend=torch" in capsys.readouterr().err
    assert not (tmp_path / "output").exists()


@pytest.mark.parametrize("command", ["sft", "pipe"])
def test_a_file_in_place_of_the_artifacts_is_refused_before_anything_is_done(command, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert run(["super3", command, "-c", "tiny", "run.backend=cpu", f"run.artifacts={tmp_path}/file"]) == 1
    assert f"{tmp_path}/file" in capsys.readouterr().err
    assert not (tmp_path / "output").exists()


def ended(**changed):
    """What a finished run returns."""
    values = {
        "plan": plan(Stage("token", 0)),
        "output_dir": Path("out"), "checkpoint": Path("out/checkpoints"), "metrics": Path("out/metrics.jsonl"),
        "records": RECORDS, "validation": [], "test": [], "resumed_from": 0, "finished": 2, "stopped": False,
        "report": Path("out/report.html"), "artifact": "ModelArtifact-sft:v1", "hf_folder": None,
    }  # fmt: skip
    return SimpleNamespace(**{**values, **changed})


def test_packs_without_a_supervised_token_have_no_loss_to_show(capsys):
    nothing = {**record(1, "token", 7.0), "lm_loss": None, "token_loss": None, "sample_loss": None}
    lines = []
    reporter = _Reporter(SimpleNamespace(line=lines.append, update=lambda *shown: lines.append(shown[-1])))
    reporter("start", {"train_iters": 2, "finished": 0, "notes": []})
    reporter("train", nothing)
    reporter("valid", nothing)
    assert lines[1].startswith("loss none (no supervised token), lr")
    assert lines[2].endswith("token loss none (no supervised token), sample loss none (no supervised token)")
    show_result(ended(records=[nothing, *RECORDS], validation=[nothing], test=[nothing]))
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["token", "loss", "7.0000", "->", "5.0000"] in shown
    assert ["validation", "token", "loss", "none", "(no", "supervised", "token)"] in shown


@pytest.mark.parametrize("length", [("train.train_samples", 26), ("train.num_epochs", 0.5)])
def test_training_further_changes_what_sets_the_length(length, capsys):
    show_result(ended(plan=plan(Stage("token", 0), length=length)))
    assert f" {length[0]}={2 * length[1]}\n" in capsys.readouterr().out


def test_a_run_stopped_after_its_last_iteration_is_not_called_done(capsys):
    assert show_result(ended(stopped=True))
    assert "2 of 2" in capsys.readouterr().out
    assert show_result(ended(stopped=True, finished=0))
    assert "2 of 2" not in capsys.readouterr().out


def test_only_the_first_rank_shows_lines():
    shown = []
    for is_first in (True, False):
        progress = SimpleNamespace(line=shown.append)
        _Reporter(progress, says_start=is_first)("line", {"text": "   3 s  Building the config"})
    assert shown == ["   3 s  Building the config"]


def test_peft_is_an_option_and_a_key(trained, capsys):
    for typed in (["--peft", "lora"], ["--peft=lora"], ["peft=lora"]):
        assert run(["super3", "sft", "-c", "tiny", *typed]) == 0
        assert trained[-1].config.peft.scheme == "lora"
    assert run(["super3", "sft", "-c", "tiny_lora", "--peft", "none"]) == 0
    assert trained[-1].config.peft is None
    capsys.readouterr()
    for typed in (["--peft", "lora", "peft=dora"], ["--peft", "lara"]):
        assert run(["super3", "sft", "-c", "tiny", *typed]) == 1
    shown = capsys.readouterr().err
    assert "--peft lora and peft=dora" in shown
    assert 'Did you mean "lora"?' in shown


@pytest.mark.parametrize(("saved", "said"), [(0, "nothing"), (40, "Iteration 40 is the last one saved")])
def test_sigterm_before_iterations_says_what_is_saved(tmp_path, monkeypatch, capsys, saved, said):
    if saved:
        write_checkpoint(tmp_path / "checkpoints", saved)
    loaded = load_config("tiny", [f"run.output_dir={tmp_path}"], schema=SftConfig)
    with pytest.raises(SystemExit), says_what_is_saved(loaded.config):
        raise SystemExit(143)
    shown = capsys.readouterr().err
    assert said in shown
    assert "the same command" in shown
