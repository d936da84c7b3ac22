"""What follows from the plan, the data and the number of ranks, on a stand-in for Megatron-Bridge's config."""

from types import SimpleNamespace

import pytest

from nemotron.config import load_config
from nemotron.training import bridge
from nemotron.training.checkpoints.initial_weights import find_start
from nemotron.training.checkpoints.run_folder import find_run_folder
from nemotron.training.config import SftConfig
from nemotron.training.counts import count_run
from nemotron.training.plan import make_plan
from nemotron.training.prepared_data import DataTokenizer, PreparedData
from nemotron.training.recipe.fill_in import fill_in


class Line:
    """Stands for the installed release."""

    def make_packed_dataset(self, packs, global_batch_size):
        return SimpleNamespace(packs=packs, global_batch_size=global_batch_size)

    def evaluation(self, packs, ranks, global_batch_size, largest, asked):
        self.asked = SimpleNamespace(packs=packs, ranks=ranks, largest=largest, asked=asked)
        return (8, 3) if packs else (0, 0)

    def set_evaluation(self, container, batch, iterations):
        container.validation = (batch, iterations)


@pytest.fixture
def line(monkeypatch):
    line = Line()
    monkeypatch.setattr(bridge, "installed", lambda: line)
    for name in ("WANDB_PROJECT", "WANDB_ENTITY", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    return line


@pytest.fixture
def filled(line, tmp_path):
    """Fills in a config of 16 batches of 64 packs: `filled("train.train_iters=8", context=2)`."""

    def fill(*overrides, tensor=1, pipeline=1, context=1, valid=20, sequence=True, logger=None):
        packs = {"train": 16 * 64, "valid": valid}
        tokenizer = DataTokenizer("/models/tokenizer")
        data = PreparedData("packs", tmp_path / "splits", packs, 4096, pad_to_multiple=4, tokenizer=tokenizer)
        settings = ["recipe.random_start=1", f"run.output_dir={tmp_path}/mine", *overrides]
        config = load_config("default", settings, schema=SftConfig).config
        run = find_run_folder(config)
        plan = make_plan(config, count_run(config, data), data, find_start(config), run)
        sizes = {"tensor": tensor, "pipeline": pipeline, "context": context}
        model = {f"{kind}_model_parallel_size" if kind != "context" else "context_parallel_size": size
                 for kind, size in sizes.items()}  # fmt: skip
        container = SimpleNamespace(
            model=SimpleNamespace(**model, sequence_parallel=sequence, calculate_per_token_loss=False),
            ddp=SimpleNamespace(average_in_collective=True),
            **{name: SimpleNamespace() for name in ("train", "scheduler", "checkpoint", "logger", "tokenizer")},
        )
        vars(container.logger).update(logger or {})
        fill_in(container, config, plan, data, run, None)
        return container

    return fill


@pytest.mark.parametrize(
    "given",
    [
        ("lr_warmup_fraction=0.25", "lr_decay_iters=4", "lr_wsd_decay_iters=2"),
        ("lr_warmup_samples=64", "lr_decay_samples=256", "lr_wsd_decay_samples=128"),
        ("lr_warmup_samples=1", "lr_decay_samples=193", "lr_wsd_decay_samples=65"),  # rounded up to whole iterations
    ],
)
def test_a_schedule_in_iterations_is_of_iterations_alone(filled, given):
    overrides = ["scheduler.lr_decay_style=WSD", "scheduler.lr_warmup_samples=null", *(f"scheduler.{g}" for g in given)]
    container = filled("train.train_iters=8", *overrides)
    scheduler = container.scheduler
    assert (scheduler.lr_warmup_iters, scheduler.lr_decay_iters, scheduler.lr_wsd_decay_iters) == (1, 4, 2)
    assert (scheduler.lr_warmup_samples, scheduler.lr_decay_samples, scheduler.lr_wsd_decay_samples) == (0, None, None)
    assert scheduler.lr_warmup_fraction is None
    assert (container.train.train_iters, container.train.train_samples, container.train.num_epochs) == (8, None, None)


def test_a_run_measured_in_samples_has_its_schedule_in_samples(filled):
    container = filled("train.train_samples=512", "scheduler.lr_warmup_samples=100", "scheduler.lr_decay_iters=4")
    scheduler = container.scheduler
    assert (scheduler.lr_warmup_samples, scheduler.lr_decay_samples, scheduler.lr_wsd_decay_samples) == (100, 256, None)
    assert (scheduler.lr_warmup_iters, scheduler.lr_decay_iters, scheduler.lr_wsd_decay_iters) == (0, None, None)
    assert (container.train.train_iters, container.train.train_samples) == (None, 512)


def test_a_run_that_ends_while_it_warms_up_decays_after_that(filled):
    """Megatron's scheduler wants the decay to end after the warm-up, also where a constant rate never decays."""
    scheduler = filled().scheduler
    assert (scheduler.lr_warmup_iters, scheduler.lr_decay_iters) == (469, 470)  # 30,000 samples in batches of 64


@pytest.mark.parametrize(("warmup", "decay"), [(7, None), (8, 9), (9, 10)])
def test_a_constant_rate_decays_only_where_the_warm_up_takes_the_whole_run(filled, warmup, decay):
    constant = ("scheduler.lr_warmup_samples=null", f"scheduler.lr_warmup_iters={warmup}", "scheduler.max_steps=null")
    scheduler = filled("train.train_iters=8", "scheduler.lr_decay_style=constant", *constant).scheduler
    assert (scheduler.lr_warmup_iters, scheduler.lr_decay_iters) == (warmup, decay)


def test_megatrons_own_length_of_a_schedule_has_no_other_beside_it(filled):
    given = ("scheduler.lr_warmup_samples=null", "scheduler.lr_warmup_iters=1", "scheduler.max_steps=5")
    assert filled("train.train_iters=8", *given).scheduler.lr_decay_iters is None


def test_gradients_are_divided_once_by_the_tokens_of_the_batch(filled):
    container = filled()
    assert container.model.calculate_per_token_loss is True
    assert container.ddp.average_in_collective is False
    assert container.model.seq_length == 4096


@pytest.mark.parametrize(("tensor", "is_on"), [(1, False), (2, True)])
def test_sequence_parallelism_needs_tensor_parallel_ranks(filled, tensor, is_on, caplog):
    caplog.set_level("INFO")
    assert filled(tensor=tensor).model.sequence_parallel is is_on
    assert ("model.sequence_parallel" in caplog.text) is not is_on
    caplog.clear()
    assert filled(tensor=tensor, sequence=False).model.sequence_parallel is False
    assert not caplog.text


@pytest.mark.parametrize(
    ("sizes", "ranks"), [({}, 16), ({"tensor": 2}, 8), ({"tensor": 2, "pipeline": 2}, 4), ({"context": 4}, 4)]
)
def test_the_valid_split_is_divided_among_ranks_that_hold_other_packs(filled, line, monkeypatch, sizes, ranks):
    monkeypatch.setenv("WORLD_SIZE", "16")
    container = filled("validation.eval_iters=3", "validation.eval_global_batch_size=16", **sizes)
    assert vars(line.asked) == {"packs": 20, "ranks": ranks, "largest": 16, "asked": 3}
    assert container.validation == (8, 3)
    assert filled(valid=0, **sizes).validation == (ranks, 0)  # Megatron-Bridge wants a batch, also for none


def test_packs_are_read_as_they_were_prepared(filled, tmp_path):
    packs = filled("dataset.num_workers=3", "dataset.seq_length=4096").dataset.packs
    assert (packs.train, packs.valid, packs.pack_size) == (tmp_path / "splits/train", tmp_path / "splits/valid", 4096)
    assert (packs.options["num_workers"], packs.conversation_targets) == (3, False)
    assert not packs.options.keys() & {"seq_length", "pad_seq_to_mult"}
    assert filled(valid=0).dataset.packs.valid is None
    assert filled("loss.sample_unit=conversation").dataset.packs.conversation_targets
    assert filled(context=2).dataset.packs.options["pad_seq_to_mult"] == 4  # as the data is padded


def test_what_a_yaml_leaves_open_is_in_the_runs_folder(filled, tmp_path, monkeypatch):
    container = filled()
    assert (container.checkpoint.save, container.checkpoint.load) == (f"{tmp_path}/mine/checkpoints",) * 2
    assert container.checkpoint.pretrained_checkpoint is None
    logs = container.logger
    assert (logs.tensorboard_dir, logs.wandb_save_dir) == (f"{tmp_path}/mine/tb_logs", f"{tmp_path}/mine")
    assert (logs.wandb_project, logs.wandb_entity, logs.wandb_exp_name) == (None, None, "mine")
    assert container.tokenizer.tokenizer_model == "/models/tokenizer"

    monkeypatch.setenv("WANDB_PROJECT", "of the environment")
    monkeypatch.setenv("WANDB_ENTITY", "team")
    assert filled().logger.wandb_project == "of the environment"
    assert filled().logger.wandb_entity == "team"
    logs = filled("logger.wandb_entity=ours", "logger.wandb_save_dir=/wandb").logger
    assert (logs.wandb_entity, logs.wandb_save_dir) == ("ours", "/wandb")
    named = filled("logger.wandb_project=mine", "logger.wandb_exp_name=hf_abcdefgh1234", "logger.tensorboard_dir=/tb")
    assert (named.logger.wandb_project, named.logger.tensorboard_dir) == ("mine", "/tb")
    assert named.logger.wandb_exp_name == "***"  # W&B would show it
    for name in ("wandb_project", "wandb_entity"):
        assert getattr(filled(f"logger.{name}=hf_abcdefgh1234").logger, name) == "***"


def test_trackers_get_the_name_of_the_run(filled):
    logs = filled("logger.mlflow_experiment=chat", "logger.comet_project=chat").logger
    assert (logs.mlflow_run_name, logs.comet_experiment_name) == ("mine", "mine")
    named = filled(
        *("logger.mlflow_experiment=chat", "logger.mlflow_run_name=first"),
        *("logger.comet_project=chat", "logger.comet_experiment_name=second"),
    ).logger
    assert (named.mlflow_run_name, named.comet_experiment_name) == ("first", "second")
    assert not vars(filled().logger).keys() & {"mlflow_run_name", "comet_experiment_name", "mlflow_log_artifacts"}


@pytest.mark.parametrize(("asked", "copies"), [((), False), (("logger.mlflow_log_artifacts=true",), True)])
def test_mlflow_copies_checkpoints_only_if_it_is_asked_to(filled, asked, copies):
    """Megatron-Bridge 0.6 has a switch, which is on; the 0.4 line has none."""
    logs = filled("logger.mlflow_experiment=chat", *asked, logger={"mlflow_log_artifacts": True}).logger
    assert logs.mlflow_log_artifacts is copies
    assert not hasattr(filled("logger.mlflow_experiment=chat").logger, "mlflow_log_artifacts")


@pytest.mark.parametrize(("valid", "warned"), [(0, True), (20, False)])
def test_a_run_without_validation_says_so(filled, valid, warned, caplog):
    filled(valid=valid)
    assert ("valid split is empty" in caplog.text) is warned
