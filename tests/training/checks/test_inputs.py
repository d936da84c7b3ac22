"""Every refusal before a run: by config and data alone, and by the machine that trains."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
from tests.training.checkpoints.made_up import write_checkpoint

from nemotron.errors import Problem, UserError, refuse
from nemotron.training.backend import choose_backend
from nemotron.training.checkpoints.initial_weights import find_start
from nemotron.training.checkpoints.run_folder import find_run_folder
from nemotron.training.checks import inputs
from nemotron.training.checks.inputs import check_inputs
from nemotron.training.checks.machine import check_machine
from nemotron.training.config import LossConfig, PeftConfig, RecipeConfig, RunConfig, SftConfig, StageConfig
from nemotron.training.prepared_data import DataTokenizer, PreparedData, find_data


def prepared(train=100, valid=4):
    packs = {"train": train, "valid": valid}
    made_with = DataTokenizer("someone/model")
    return PreparedData("SFTDataArtifact-sft:v1", Path("/data/splits"), packs, pack_size=4096, tokenizer=made_with)


def config(train=None, **sections):
    recipe = RecipeConfig("someone/model", random_start=1)
    return SftConfig(recipe=recipe, train={"global_batch_size": 8, **(train or {})}, **sections)


def check(settings, data=None) -> list[Problem]:
    return check_plan(settings, prepared() if data is None else data)


def check_plan(settings, data, ranks=None) -> list[Problem]:
    return check_inputs(settings, data, find_start(settings), ranks)[1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (config({"train_iters": 10, "num_epochs": 1}), "train.train_iters=10, train.num_epochs=1"),
        (config({"train_iters": 0}), "train.train_iters is 0"),
        (config({"global_batch_size": 128}), "only 100 training packs"),
        (config({"train_samples": 3}), "less than one global batch"),
        (config({"num_epochs": -1}), "train.num_epochs is -1"),
        (config({"num_epochs": math.nan}), "train.num_epochs is nan"),
        (config({"num_epochs": math.inf}), "train.num_epochs is inf"),
        (config(dataset={"seq_length": 2048}), "was packed to 4096 tokens"),
        (config(scheduler={"lr_warmup_samples": 8, "lr_warmup_iters": 1}), "given twice"),
        (config(scheduler={"lr_warmup_samples": "30k"}), "scheduler.lr_warmup_samples is '30k'"),
        (config(model={"context_parallel_size": "two"}), "model.context_parallel_size is 'two'"),
        (config(validation={"eval_iters": "all"}), "validation.eval_iters is 'all'"),
        (config(logger={"log_interval": 0}), "logger.log_interval is 0"),
        (config(checkpoint={"save_interval": 0}), "checkpoint.save_interval is 0"),
        (config({"micro_batch_size": 2}), "train.micro_batch_size is 2"),
        (config({"rampup_batch_size": [2, 2, 8]}), "train.rampup_batch_size is [2, 2, 8]"),
        (config(model={"seq_length": 2048}), "model.seq_length is 2048"),
        (config(model={"calculate_per_token_loss": False}), "model.calculate_per_token_loss is False"),
        (config(ddp={"average_in_collective": True}), "ddp.average_in_collective is True"),
        (config(dataset={"dataloader_type": "cyclic"}), "dataset.dataloader_type is 'cyclic'"),
        (config(peft=PeftConfig(target_modules=["linear_qvk"])), "'linear_qvk'"),
        (
            config(peft=PeftConfig(scheme="dora", target_modules=["linear_fc1"])),
            "peft.scheme=dora cannot adapt 'linear_fc1'",
        ),
        (config(peft=PeftConfig(scheme="dora", target_modules=["in_proj"])), "'in_proj'"),
        (config(peft=PeftConfig(dim=0)), "peft.dim is 0"),
        (config(peft=PeftConfig(dim=-3)), "peft.dim is -3"),
        (config(peft=PeftConfig(alpha=0)), "peft.alpha is 0"),
        (config(peft=PeftConfig(dropout=1)), "peft.dropout is 1"),
        (config(peft=PeftConfig(dropout=-0.1)), "peft.dropout is -0.1"),
        (config(peft=PeftConfig(dropout=math.nan)), "peft.dropout is nan"),
        (config(model={"mtp_num_layers": -1}), "model.mtp_num_layers is -1"),
        (config(model={"mtp_loss_scaling_factor": math.nan}), "model.mtp_loss_scaling_factor is nan"),
        (config(model={"mtp_loss_scaling_factor": -0.3}), "model.mtp_loss_scaling_factor is -0.3"),
        (config(peft=PeftConfig(), model={"moe_router_bias_update_rate": 0.1}), "moe_router_bias_update_rate is 0.1"),
    ],
)
def test_a_run_that_makes_no_sense_is_refused_before_anything_starts(settings, message):
    [problem] = check(settings)
    assert message in problem.message
    assert problem.hint


def test_what_is_required_may_be_said():
    settings = config({"micro_batch_size": 1}, model={"seq_length": 4096, "calculate_per_token_loss": True})
    assert check(settings) == []


def test_the_bounds_of_adapters_are_allowed():
    for dropout in (0, 0.99):
        assert check(config(peft=PeftConfig(dim=1, alpha=1, dropout=dropout))) == []


def test_adapters_may_be_named_by_a_pattern():
    for scheme, target in (("lora", "*.layers.0.*.linear_fc*"), ("dora", "*.shared_experts.linear_fc1")):
        assert check(config(peft=PeftConfig(scheme=scheme, target_modules=[target]))) == []


def test_a_misspelt_projection_has_a_suggestion():
    [problem] = check(config(peft=PeftConfig(target_modules=["linear_qkw"])))
    assert problem.hint == 'Did you mean "linear_qkv"?'


def test_everything_that_is_wrong_is_said_at_once_each_with_its_fix(tmp_path):
    (tmp_path / "file").touch()
    settings = SftConfig(
        run=RunConfig(output_dir=str(tmp_path / "run"), artifacts=str(tmp_path / "file"), backend="cpu"),
        recipe=RecipeConfig("someone/model"),
        train={"global_batch_size": 128, "micro_batch_size": 2},
        model={"context_parallel_size": 2},
        peft=PeftConfig(dim=0),
        loss=LossConfig([StageConfig(start=0), StageConfig("sample", start=5.0)]),
    )
    start, run = find_start(settings), find_run_folder(settings)
    problems = [
        *check_plan(settings, prepared(), ranks=6),
        *check_machine(settings, prepared(), start, run, None, choose_backend("cpu", gpu=False)),
    ]
    with pytest.raises(UserError) as error:
        refuse(problems)
    for number, key in enumerate(
        [
            "train.micro_batch_size is 2",
            "peft.dim is 0",
            "train.global_batch_size is 128, but SFTDataArtifact-sft:v1 has only 100",
            "loss.stages[1].start is 5.0",
            "train.global_batch_size=128 ",
            "checkpoint.pretrained_checkpoint=",
            "pad_to_multiple=4",
            f"Cannot write {tmp_path}/file",
            "run.backend=cpu",
        ],
        start=1,
    ):
        [line] = [line for line in error.value.message.splitlines() if line.startswith(f"  {number}. ")]
        assert key in line
    assert len(problems) == 9


def test_numbers_are_asked_first_as_the_others_calculate_with_them():
    settings = config({"global_batch_size": "many"}, model={"context_parallel_size": "two"}, peft=PeftConfig(dim=0))
    named = [problem.message.split(" is ")[0] for problem in check(settings)]
    assert named == ["train.global_batch_size", "model.context_parallel_size", "peft.dim"]


def test_without_the_data_what_the_config_alone_says_is_still_refused():
    settings = config({"global_batch_size": 64, "train_samples": 3}, model={"seq_length": 1})
    named = [problem.message.split(" is ")[0] for problem in check_plan(settings, None, ranks=24)]
    assert named == [
        "train.train_samples",
        "train.global_batch_size=64 cannot be divided among 24 data-parallel ranks.",
    ]
    assert check_plan(config(), None, ranks=8) == []


def test_what_can_be_counted_can_be_shown_though_other_things_are_wrong():
    nothing_to_start_from = SftConfig(recipe=RecipeConfig("someone/model"), train={"global_batch_size": 8})
    plan, [problem] = check_inputs(nothing_to_start_from, prepared(), find_start(nothing_to_start_from), None)
    assert plan is not None
    assert "checkpoint.pretrained_checkpoint" in problem.hint


def test_the_vocabulary_of_a_known_model_needs_no_network(tmp_path):
    settings = SftConfig(recipe=RecipeConfig(random_start=1), train={"global_batch_size": 8})
    data = PreparedData("mine", tmp_path, {"train": 8}, 4096, tokenizer=DataTokenizer("tiny", vocab_size=2048))
    [problem] = check(settings, data)
    assert "2,048" in problem.message
    assert "131,072" in problem.message


def test_samples_that_are_conversations_need_data_that_counts_them():
    settings = config(loss=LossConfig(sample_unit="conversation"))
    [problem] = check(settings, replace(prepared(), has_conversation_targets=False))
    assert "loss.sample_unit is conversation" in problem.message
    assert check(settings, replace(prepared(), has_conversation_targets=True)) == []


def test_data_that_is_not_there_is_a_problem_among_others(tmp_path):
    settings = config(run=RunConfig(data="nowhere", artifacts=str(tmp_path)))
    data, [problem] = find_data(settings, "mine")
    assert data is None
    assert "nemotron super3 data prep sft; " in problem.hint  # which has no config called `mine`
    assert "nemotron super3 data import DIR" in problem.hint


@pytest.mark.parametrize("named", ["backend", "folders"])
def test_what_another_machine_may_have_is_only_refused_where_the_run_trains(tmp_path, named):
    run = RunConfig(output_dir=str(tmp_path), artifacts=str(tmp_path), backend="torch" if named == "backend" else "cpu")
    missing = {} if named == "backend" else {"pretrained_checkpoint": "/lustre/model", "load": "/lustre/run"}
    settings = SftConfig(
        run=run,
        recipe=RecipeConfig("someone/model" if named == "backend" else "/lustre/hf", random_start=1),
        train={"global_batch_size": 8},
        checkpoint=missing,
    )
    start = find_start(settings)
    assert check_plan(settings, prepared()) == []
    machine = check_machine(settings, prepared(), start, find_run_folder(settings), None, None)
    said = " ".join(problem.message for problem in machine)
    assert [path for path in ("/lustre/model", "/lustre/hf", "/lustre/run") if path in said] == (
        [] if named == "backend" else ["/lustre/model", "/lustre/hf", "/lustre/run"]
    )


def test_each_check_of_inputs_and_of_the_machine_is_asked(tmp_path):
    (tmp_path / "hf").mkdir()
    run_folder, base = tmp_path / "run", tmp_path / "gone"
    saved_with = {"peft": {"dim": 8}, "checkpoint": {"pretrained_checkpoint": str(base)}}
    write_checkpoint(run_folder / "checkpoints", 4, saved_with)
    (run_folder / "run.json").write_text('{"model": "another"}')
    settings = SftConfig(
        run=RunConfig(output_dir=str(run_folder), artifacts=str(tmp_path / "artifacts"), backend="cpu"),
        recipe=RecipeConfig(str(tmp_path / "hf"), random_start=1),
        train={"global_batch_size": 8},
        tokenizer={"tokenizer_model": "/gone/tokenizer"},
    )
    start = find_start(settings)
    run = find_run_folder(settings, prepared(), start)
    plan, inputs = check_inputs(settings, prepared(), start, 1, run)
    machine = check_machine(settings, prepared(), start, run, plan, choose_backend("cpu"))
    found = [" ".join(problem.message.split()[:3]) for problem in inputs]
    assert found == [f"recipe.hf_model is {tmp_path}/hf,", "tokenizer.tokenizer_model is /gone/tokenizer,"]
    for named in (str(base), "tokenizer.tokenizer_model is /gone/tokenizer", "with model another"):
        assert any(named in problem.message for problem in machine), named


def test_trackers_are_looked_at_with_the_other_settings(monkeypatch):
    problem = Problem("no such tracker", "name another")
    monkeypatch.setattr(inputs, "check_trackers", lambda config: [problem])
    assert problem in check(config())
