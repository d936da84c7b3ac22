"""Random weights to start from: made once, the same every time, and as ignorant as they should be."""

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from nemotron.training import cpu
from nemotron.training.bridge.provider import leave_out_mtp
from nemotron.training.checkpoints.newest import find_latest
from nemotron.training.weights.megatron_model import hf_provider, single_process_group
from nemotron.training.weights.random_init import make_starting_checkpoint

pytestmark = pytest.mark.megatron

TINY_MODEL = Path(__file__).parents[3] / "config" / "tiny_model"


def load(checkpoint):
    """The model in a checkpoint folder; needs a process group."""
    from megatron.bridge.training.model_load_save import load_megatron_model

    [model] = load_megatron_model(str(find_latest(checkpoint).folder), use_cpu_init=True, skip_temp_dist_context=True)
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("start")


@pytest.fixture(scope="module")
def checkpoint(folder):
    with cpu.backend():
        return make_starting_checkpoint(TINY_MODEL, folder, seed=1)


def test_it_is_made_once(checkpoint, folder):
    made = checkpoint.stat().st_mtime_ns
    with cpu.backend():
        assert make_starting_checkpoint(TINY_MODEL, folder, seed=1) == checkpoint
    assert checkpoint.stat().st_mtime_ns == made
    assert not list(folder.glob("*.unfinished"))


def test_the_seed_decides_the_weights(checkpoint, folder, tmp_path):
    torch.manual_seed(99)  # the state of the caller's generator does not
    with cpu.backend():
        again = make_starting_checkpoint(TINY_MODEL, tmp_path, seed=1)
        other = make_starting_checkpoint(TINY_MODEL, folder, seed=2)
        with single_process_group():
            weights, same, different = (dict(load(path).named_parameters()) for path in (checkpoint, again, other))
    assert all(torch.equal(weights[name], same[name]) for name in weights)
    assert not torch.equal(weights["embedding.word_embeddings.weight"], different["embedding.word_embeddings.weight"])


def test_on_a_machine_with_a_gpu_another_process_makes_the_same_weights(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(cpu, "is_needed", lambda: False)
    made = make_starting_checkpoint(TINY_MODEL, tmp_path, seed=1)
    with cpu.backend(), single_process_group():
        weights, same = (dict(load(path).named_parameters()) for path in (checkpoint, made))
    assert all(torch.equal(weights[name], same[name]) for name in weights)


def test_without_mtp_there_are_no_mtp_layers():
    with cpu.backend(), single_process_group():
        provider = hf_provider(TINY_MODEL)
        cpu.use_cpu(provider)
        leave_out_mtp(provider)
        provider.finalize()
        [model] = provider.provide_distributed_model(wrap_with_ddp=False)
    assert not [name for name, _ in model.named_parameters() if "mtp" in name]


def test_the_first_loss_is_that_of_guessing(checkpoint):
    random = torch.Generator().manual_seed(0)
    tokens, targets = torch.randint(2048, (2, 1, 200), generator=random)
    with cpu.backend(), single_process_group(), torch.no_grad():
        logits = load(checkpoint)(input_ids=tokens, position_ids=torch.arange(200).unsqueeze(0), attention_mask=None)
    assert F.cross_entropy(logits[0], targets[0]).item() == pytest.approx(math.log(2048), abs=0.05)
