"""The documented settings as Megatron-Bridge gets them, and what it reads of the packs, whichever line is installed."""

import re
import sys
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from tests.training.conftest import TINY_MODEL
from tests.training.exactness.batches import EOS, make_batches, write_parquet
from tests.training.exactness.rank import TOKENIZER

from nemotron.config import load_config
from nemotron.errors import UserError
from nemotron.training import bridge, cpu, torch_layers
from nemotron.training.checkpoints.initial_weights import find_start
from nemotron.training.checkpoints.run_folder import find_run_folder
from nemotron.training.config import SftConfig
from nemotron.training.counts import count_run
from nemotron.training.plan import make_plan
from nemotron.training.prepared_data import DataTokenizer, PreparedData
from nemotron.training.reporting.trackers import open_mlflow

pytestmark = pytest.mark.megatron

MLFLOW = """
uri, opened = "", []
def get_tracking_uri():
    return uri
def set_tracking_uri(given):
    global uri
    uri = given
def set_experiment(name):
    if uri == "http://nowhere":
        raise RuntimeError("no such store.\\nTraceback ...")
    opened.append(name)
"""

SIXTEEN_BATCHES = 16 * 64


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """Builds a config of a run on a few packs: `build(name, *overrides)`."""
    batch = make_batches()["2"]
    prepared = write_parquet(batch, tmp_path_factory.mktemp("data"))
    # The numbers of packs are only calculated with; as many packs as they say would take long to write.
    packs = {"train": SIXTEEN_BATCHES, "valid": 0}
    data = PreparedData("packs", prepared, packs, batch.pack_size, tokenizer=DataTokenizer(str(TOKENIZER)))
    output = tmp_path_factory.mktemp("output") / "run"

    def built(name, *overrides):
        from nemotron.training.recipe.build import build_recipe

        # An output folder of its own: in the one of this folder there may be a run, which would be continued.
        settings = [f"recipe.hf_model={TINY_MODEL}", f"run.output_dir={output}", *overrides]
        loaded = load_config(name, settings, schema=SftConfig)
        run, start = find_run_folder(loaded.config), find_start(loaded.config)
        plan = make_plan(loaded.config, count_run(loaded.config, data), data, start, run)
        return build_recipe(loaded.config, plan, data, run, loaded.origins, None).container

    with cpu.backend():
        yield built


@pytest.fixture
def eight_ranks(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "8")


def test_the_default_is_what_is_documented(build, eight_ranks):
    container = build("default")
    model, optimizer, scheduler = container.model, container.optimizer, container.scheduler
    assert (optimizer.lr, scheduler.lr_decay_style) == (1e-5, "constant")
    assert scheduler.lr_warmup_iters == 469  # 30,000 samples in batches of 64
    assert (container.train.train_iters, container.train.global_batch_size) == (16, 64)
    parallel = ("tensor_model", "pipeline_model", "context", "expert_model", "expert_tensor")
    assert [getattr(model, f"{name}_parallel_size") for name in parallel] == [1, 1, 1, 8, 1]
    assert (model.mtp_num_layers, model.mtp_use_repeated_layer, model.mtp_loss_scaling_factor) == (2, True, 0.3)
    assert model.calculate_per_token_loss
    assert not container.ddp.average_in_collective
    assert container.mixed_precision.bf16
    assert container.dataset.seq_length == model.seq_length == make_batches()["2"].pack_size
    assert container.dataset.dataloader_type == "batch"
    assert container.peft is None


def test_trackers_get_their_settings_and_the_name_of_the_run(build, tmp_path):
    on = ["logger.mlflow_experiment=chat", "logger.comet_project=chat", "logger.comet_tags=[a, b]"]
    logs = build(
        "tiny", *on, f"logger.mlflow_tracking_uri=sqlite:///{tmp_path}/db", f"run.output_dir={tmp_path}/mine"
    ).logger
    assert (logs.mlflow_experiment, logs.mlflow_run_name) == ("chat", "mine")
    assert logs.mlflow_tracking_uri == f"sqlite:///{tmp_path}/db"
    assert (logs.comet_project, logs.comet_experiment_name, logs.comet_tags) == ("chat", "mine", ["a", "b"])
    assert not getattr(logs, "mlflow_log_artifacts", False)  # whole checkpoints, by default, copied at every save
    named = build("tiny", *on, "logger.mlflow_run_name=first", "logger.comet_experiment_name=second").logger
    assert (named.mlflow_run_name, named.comet_experiment_name) == ("first", "second")
    off = build("tiny").logger
    assert (off.mlflow_experiment, off.mlflow_run_name, off.comet_experiment_name) == (None, None, None)


def test_an_mlflow_store_that_cannot_be_opened_is_said_in_a_sentence(build, tmp_path, monkeypatch):
    (tmp_path / "mlflow.py").write_text(MLFLOW)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mlflow", raising=False)
    logs = build("tiny", "logger.mlflow_experiment=chat", "logger.mlflow_tracking_uri=http://nowhere").logger
    with pytest.raises(UserError, match=r"logger\.mlflow_experiment.*http://nowhere: no such store"):
        open_mlflow(logs)
    logs.mlflow_tracking_uri = "http://here"
    open_mlflow(logs)
    assert sys.modules.pop("mlflow").opened == ["chat"]


def test_a_schedule_is_in_the_unit_of_the_runs_length(build):
    decay = ["scheduler.lr_decay_style=WSD", "scheduler.lr_warmup_fraction=0.25"]
    for length, unit, other in (("train_iters=8", 64, "samples"), ("train_samples=512", 1, "iters")):
        for given in (
            ["lr_decay_iters=4", "lr_wsd_decay_iters=2"],
            ["lr_decay_samples=256", "lr_wsd_decay_samples=128"],
        ):
            scheduler = build("default", f"train.{length}", *decay, *(f"scheduler.{each}" for each in given)).scheduler
            mine = "iters" if other == "samples" else "samples"
            got = [getattr(scheduler, f"lr_{name}_{mine}") * unit for name in ("warmup", "decay", "wsd_decay")]
            assert got == [64, 256, 128]
            assert [getattr(scheduler, f"lr_{name}_{other}") for name in ("warmup", "decay", "wsd_decay")] == [
                0,
                None,
                None,
            ]
            assert scheduler.lr_warmup_fraction is None


def test_lora_trains_adapters_of_every_kind_of_layer(build, eight_ranks):
    container = build("lora")
    assert (container.optimizer.lr, container.peft.dim, container.peft.alpha) == (1e-4, 32, 32)
    assert {"linear_qkv", "linear_fc1", "in_proj"} <= set(container.peft.target_modules)


def test_single_settings_of_the_precision_go_over_those_of_the_recipe(build, tmp_path, eight_ranks):
    written = tmp_path / "mine.yaml"
    written.write_text("defaults: default\nmixed_precision: {grad_reduce_in_fp32: false}\n")
    precision = build(str(written)).mixed_precision
    assert (precision.bf16, precision.grad_reduce_in_fp32) == (True, False)


def test_a_setting_that_only_the_other_line_has_is_refused(build):
    absent = {"0.6": "optimizer.muon_use_nesterov=true", "0.4": "validation.eval_micro_batch_size=1"}
    override = absent[bridge.installed().NAME]
    with pytest.raises(UserError, match=re.escape(override.split("=")[0])):
        build("tiny", override)


def test_a_split_is_read_to_its_last_pack_with_every_conversation_where_it_lies(build, tmp_path):
    """Three packs, in batches that a training step of two packs allows."""
    from megatron.bridge.training.tokenizers.tokenizer import build_tokenizer

    line, packs = bridge.installed(), make_batches()["4"].packs[:3]
    batch = make_batches()["4"]
    folder = write_parquet(type(batch)(packs, batch.pack_size), tmp_path) / "train"
    container = build("tiny", "train.global_batch_size=2")
    reads = bridge.Packs(
        folder, folder, batch.pack_size, {"num_workers": 0, "pin_memory": False}, conversation_targets=False
    )
    container.dataset = line.make_packed_dataset(reads, 2)
    size, iterations = line.evaluation(packs=3, ranks=1, global_batch_size=2, largest=None, asked=None)
    line.set_evaluation(container, size, iterations)
    assert line.count_evaluated_packs(container, 3) == 3

    one_rank = SimpleNamespace(rank=lambda: 0, size=lambda: 1)
    batches = line.split_iterator(container, build_tokenizer(container.tokenizer), folder, one_rank)
    read = []
    for whole in (next(batches) for _ in range(iterations)):
        for row in range(size):
            pack = {name: value[row : row + 1] for name, value in whole.items() if isinstance(value, torch.Tensor)}
            ends = line.pack_boundaries(pack).tolist()
            pieces = [(pack["tokens"][0, a:b].tolist(), pack["loss_mask"][0, a:b].tolist()) for a, b in pairwise(ends)]
            if any(any(mask) for _, mask in pieces):
                read.append(pieces[: len([piece for piece in pieces if set(piece[0]) != {EOS} and piece[0]])])

    expected = []
    for pack in packs:
        rolled = [(c.ids[:-1], [int(bit) for bit in c.supervised[1:]]) for c in pack]
        # What follows <|im_end|> is not trained.
        expected.append([(ids, [m * (i != EOS) for i, m in zip(ids, mask, strict=True)]) for ids, mask in rolled])
    assert sorted(read) == sorted(expected)


def test_without_mixed_precision_everything_is_float32(build):
    """The recipe's own bf16_mixed does not win over a null."""
    container = build("default", "mixed_precision=null", "model.expert_model_parallel_size=1")
    model = container.model
    assert container.mixed_precision is None
    assert (model.params_dtype, model.pipeline_dtype, container.optimizer.params_dtype) == (torch.float32,) * 3
    assert [model.bf16, model.keep_mtp_spec_in_bf16, container.optimizer.bf16] == [False] * 3


def test_torch_layers_leave_number_formats_and_layout_to_the_config(build):
    container = build("default", "model.expert_model_parallel_size=1", "model.moe_token_dispatcher_type=flex")
    torch_layers.apply(container)
    assert container.mixed_precision.bf16
    assert container.optimizer.use_distributed_optimizer
    assert not container.optimizer.use_precision_aware_optimizer
    assert container.model.moe_token_dispatcher_type == "alltoall"
    assert [container.model.moe_grouped_gemm, container.model.gradient_accumulation_fusion] == [False] * 2
    assert container.dist.distributed_backend == "nccl"
