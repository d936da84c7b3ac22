"""The card of an export: what its run recorded, and no more."""

import json

import pytest
from tests.training.checkpoints.made_up import write_checkpoint

from nemotron.training.checkpoints.checkpoint import read_checkpoint
from nemotron.training.weights import model_card as room
from nemotron.training.weights.model_card import model_card, read_iteration


@pytest.fixture
def iteration(tmp_path, monkeypatch):
    """A checkpoint of iteration 4 of a run that went on to 8."""
    monkeypatch.setattr(room, "version", {"nemotron": "1.2", "megatron-bridge": "0.6"}.__getitem__)
    run = tmp_path / "run"
    folder = write_checkpoint(run / "checkpoints", 4, {"train": {"train_iters": 99}})
    record = {"data_from": "blend | of\ntwo", "adapters": "lora, rank 4", "hf_model": "org/model"}
    (run / "run.json").write_text(json.dumps(record))
    for name, shift in (("metrics", 0), ("validation", 1)):
        losses = [{"iteration": n, "token_loss": n + shift, "sample_loss": n + 0.55555} for n in (2, 4, 8)]
        (run / f"{name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in losses))
    (run / "config.yaml").write_text("optimizer:\n  lr: 1\n\n")
    return folder


def test_the_card_of_a_run_has_its_origin_its_losses_and_its_config(iteration):
    assert (
        model_card(read_checkpoint(iteration), "org/model")
        == """---
library_name: transformers
tags: [nemotron, sft]
base_model: org/model
---

# Fine-tuned with nemotron

|  |  |
| --- | --- |
| Base model | org/model |
| Training data | blend \\| of two |
| Adapters, merged | lora, rank 4 |
| Iteration | 4 |
| Code | nemotron 1.2, megatron-bridge 0.6 |

## Losses

|  | per token | per sample |
| --- | --- | --- |
| training, iteration 4 | 4.0000 | 4.5556 |
| validation, iteration 4 | 5.0000 | 4.5556 |

## Config

```yaml
optimizer:
  lr: 1
```
"""
    )


def test_the_card_of_adapters_says_how_to_load_them(iteration):
    card = model_card(read_checkpoint(iteration), "org/model", adapter=True)
    assert card.startswith("---\nlibrary_name: peft\ntags: [nemotron, sft, lora]\n")
    assert "| Adapters | lora, rank 4 |" in card
    assert 'AutoModelForCausalLM.from_pretrained("org/model")' in card
    assert "```python" not in model_card(read_checkpoint(iteration), "org/model")


def test_a_folder_is_no_base_model_of_the_hub(iteration, tmp_path):
    assert "base_model:" not in model_card(read_checkpoint(iteration), str(tmp_path))


def test_what_a_run_did_not_record_is_left_out(tmp_path):
    folder = write_checkpoint(tmp_path / "alone", 4)
    card = model_card(read_checkpoint(folder), "org/model")
    assert not {"Training data", "Adapters", "## Losses", "## Config"} & set(card.splitlines())
    assert "None" not in card


def test_losses_that_nobody_measured_are_left_out(iteration):
    run = iteration.parents[1]
    (run / "validation.jsonl").write_text('{"iteration": 8, "token_loss": 1, "sample_loss": 1}\n')
    (run / "metrics.jsonl").write_text('{"iteration": 4, "token_loss": null}\n')
    (run / "config.yaml").unlink()
    card = model_card(read_checkpoint(iteration), "org/model")
    assert "## Losses" not in card
    assert "## Config" not in card


def test_the_iteration_of_a_checkpoint_of_megatron_lm_is_in_its_config(iteration):
    release = iteration.rename(iteration.with_name("release"))
    card = model_card(read_checkpoint(release), "org/model")
    assert "| Iteration | 99 |" in card
    assert "training, iteration 8" in card
    (release / "run_config.yaml").unlink()
    assert "| Iteration |" not in model_card(read_checkpoint(release), "org/model")
    assert "training, iteration 8" in model_card(read_checkpoint(release), "org/model")


def test_the_iteration_is_read_back(iteration, tmp_path):
    (tmp_path / "README.md").write_text(model_card(read_checkpoint(iteration), "org/model"))
    assert read_iteration(tmp_path / "README.md") == 4
    (tmp_path / "README.md").write_bytes(b"| Iteration | many |\xff")
    assert read_iteration(tmp_path / "README.md") is None


def test_a_package_that_is_not_installed_has_no_version():
    assert room._version("a package of nobody") == "unknown"
    assert room._version("pytest")[0].isdigit()
