"""LoRA in each parallel layout against its formula: gradients, shared adapters after training, and the export."""

import json
import subprocess
import sys
from statistics import median

import pytest
import torch
from safetensors.torch import load_file
from tests.training.exactness.adapters import exported_names, updates
from tests.training.exactness.compare import measure, read, read_ranks
from tests.training.exactness.launch import run_in_new_process
from tests.training.exactness.layouts import ADAPTER_LAYOUTS, NOT_ROUTED
from tests.training.exactness.rank import MODEL, TOKENIZER
from tests.training.exactness.shards import Shard, assemble
from tests.training.exactness.weights import make_weight

from nemotron.training.checkpoints.checkpoint import read_checkpoint
from nemotron.training.checkpoints.newest import find_latest
from nemotron.training.weights import export_adapter
from nemotron.training.weights.export_hf import convert

pytestmark = pytest.mark.megatron

ONE_RANK, *SAME_ADAPTERS = [layout for layout in ADAPTER_LAYOUTS if NOT_ROUTED not in layout.overrides]
LAYOUTS = pytest.mark.parametrize("layout", ADAPTER_LAYOUTS, ids=lambda layout: layout.name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the ranks of all layouts recorded and saved."""
    folder = tmp_path_factory.mktemp("adapters")
    run_in_new_process(ADAPTER_LAYOUTS, folder)
    return folder


@LAYOUTS
def test_losses_and_gradients_are_those_of_the_formulas(layout, folder, reference):
    difference = measure(layout, folder, reference)
    assert difference.losses < 1e-6
    assert difference.norm < 1e-6
    assert difference.replicas == 0
    for stage, gradients in difference.gradients.items():
        assert median(gradients.values()) < 5e-6, stage
        assert difference.worst(stage)[0] < 2e-5, difference.worst(stage)


@LAYOUTS
def test_ranks_share_their_adapters_from_the_start_to_the_end(layout, folder):
    """Over data-, expert-data- and tensor-parallel ranks; and nothing else moves, expert biases included."""
    ranks = read_ranks(layout, folder)
    for kind in ("start", "trained"):
        whole, difference = assemble([Shard(*part) for rank in ranks for part in rank[kind]])
        assert difference == 0, kind
    moved = {name: (value - make_weight(name, tuple(value.shape))).abs().max() for name, value in whole.items()}
    assert min(moved.values()) > 1e-4  # three steps of Adam, each of up to 1e-3
    assert max(moved.values()) < 4e-3
    assert [rank["moved"] for rank in ranks] == [[]] * layout.ranks


@pytest.mark.parametrize("layout", SAME_ADAPTERS, ids=lambda layout: layout.name)
def test_every_layout_trains_on_alike(layout, folder):
    """No layout goes its own way: three steps later the losses are still those of one rank."""
    alone, divided = (
        [step for rank in read_ranks(each, folder) for step in rank["steps"] if step["losses"]]
        for each in (ONE_RANK, layout)
    )
    for expected, found in zip(alone, divided[: len(alone)], strict=True):
        for name in ("lm loss", "token loss", "sample loss"):
            assert found["losses"][name] == pytest.approx(expected["losses"][name], rel=1e-5)
        assert found["norm"] == pytest.approx(expected["norm"], rel=1e-4)
    assert alone[-1]["losses"]["token loss"] < alone[0]["losses"]["token loss"]


@pytest.fixture(scope="module")
def base(folder, tmp_path_factory):
    """The weights that the adapters are merged into, exported."""
    target = tmp_path_factory.mktemp("base") / "hf"
    [start] = folder.glob("start/start-*/iter_0000000")
    convert(read_checkpoint(start), target, str(MODEL), str(TOKENIZER))
    return load_file(target / "model.safetensors")


@LAYOUTS
def test_the_export_is_the_base_and_the_scaled_product(layout, folder, base, tmp_path):
    """W + alpha/dim B A, routed and shared experts included; all else, the final norm too, to the last bit."""
    convert(find_latest(folder / layout.name / "checkpoints"), tmp_path / "hf", str(MODEL), str(TOKENIZER))
    exported = load_file(tmp_path / "hf" / "model.safetensors")
    assert exported.keys() == base.keys()
    trained, _ = assemble([Shard(*part) for rank in read_ranks(layout, folder) for part in rank["trained"]])
    added = exported_names(updates(trained))
    routed = 0 if NOT_ROUTED in layout.overrides else 2 * 8
    assert len(added) == 2 * 3 + 4 * 2 + (2 + routed) * 4  # Mamba, attention, experts; one of the last two is of MTP
    for name, update in added.items():
        torch.testing.assert_close(exported[name], base[name] + update, atol=1e-6, rtol=0, msg=name)
        assert update.abs().max() > 1e-3, name
    kept = base.keys() - added.keys()
    assert "backbone.norm_f.weight" in kept
    assert [name for name in kept if not torch.equal(exported[name], base[name])] == []


PEFT = """
import sys, peft, torch
from transformers import AutoModelForCausalLM
base = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32)
with torch.no_grad():
    logits = peft.PeftModel.from_pretrained(base, sys.argv[2]).eval()(torch.load("ids.pt")).logits
torch.save(logits, "logits.pt")
"""


def test_peft_makes_of_the_exported_adapters_what_the_merged_export_is(folder, tmp_path):
    pytest.importorskip("peft")
    from transformers import AutoModelForCausalLM

    [start] = folder.glob("start/start-*/iter_0000000")
    trained = find_latest(folder / ONE_RANK.name / "checkpoints")
    for checkpoint, name in ((read_checkpoint(start), "base"), (trained, "merged")):
        convert(checkpoint, tmp_path / name, str(MODEL), str(TOKENIZER))
    export_adapter.convert(trained, tmp_path / "adapter", str(tmp_path / "base"), str(TOKENIZER))
    base, merged = (
        AutoModelForCausalLM.from_pretrained(tmp_path / name, dtype=torch.float32).eval() for name in ("base", "merged")
    )
    ids = torch.tensor([[7, 8, 9, 100, 200, 300, 5, 6]])
    with torch.no_grad():
        before, expected = base(ids).logits, merged(ids).logits
    assert (before - expected).abs().max() > 0.1
    torch.save(ids, tmp_path / "ids.pt")
    # In a process of its own: here Megatron-Bridge 0.4 has imported peft beside a stand-in for Transformer Engine.
    subprocess.run([sys.executable, "-c", PEFT, "base", "adapter"], cwd=tmp_path, check=True)
    torch.testing.assert_close(torch.load(tmp_path / "logits.pt"), expected, atol=1e-5, rtol=0)
    named = json.loads((tmp_path / "adapter/adapter_config.json").read_text())["base_model_name_or_path"]
    assert named == str(tmp_path / "base")
    assert "library_name: peft" in (tmp_path / "adapter/README.md").read_text()


def test_no_expert_choice_is_so_close_that_rounding_decides_it(folder, reference):
    recorded = read(ONE_RANK, folder)["token"]
    assert reference.truth(ONE_RANK.batch, recorded.shapes, recorded.frozen).margin > 1e-6
