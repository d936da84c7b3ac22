"""Megatron checkpoint -> Hugging Face folder -> Megatron, with nothing lost."""

import json
import shutil
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from nemotron.errors import UserError
from nemotron.training import cpu
from nemotron.training.checkpoints.newest import find_latest
from nemotron.training.generation.reply import Asked, reply_to
from nemotron.training.generation.speaker import TransformersSpeaker
from nemotron.training.weights import import_hf
from nemotron.training.weights.export_hf import convert
from nemotron.training.weights.megatron_model import hf_provider, single_process_group
from nemotron.training.weights.random_init import make_starting_checkpoint

pytestmark = pytest.mark.megatron

CONFIG = Path(__file__).parents[3] / "config"
TINY_MODEL = CONFIG / "tiny_model"
TINY_TOKENIZER = CONFIG / "data_prep" / "tiny" / "tokenizer"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    with cpu.backend():
        return make_starting_checkpoint(TINY_MODEL, tmp_path_factory.mktemp("start"), seed=5)


@pytest.fixture(scope="module")
def exported(checkpoint, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "hf"
    # As released: config.json does not name the token that ends a turn, generation_config.json may not either.
    source = shutil.copytree(TINY_MODEL, tmp_path_factory.mktemp("source"), dirs_exist_ok=True)
    config = json.loads((source / "config.json").read_text()) | {"eos_token_id": 2}
    (source / "config.json").write_text(json.dumps(config))
    (source / "generation_config.json").write_text(json.dumps({"do_sample": True, "eos_token_id": 2}))
    convert(find_latest(checkpoint), folder, str(source), str(TINY_TOKENIZER))
    return folder


def test_transformers_finds_every_weight_and_no_other(exported):
    from transformers import AutoModelForCausalLM

    model, info = AutoModelForCausalLM.from_pretrained(exported, dtype=torch.float32, output_loading_info=True)
    assert not any(info.values()), info
    assert type(model).__name__ == "NemotronHForCausalLM"


def test_generation_stops_at_the_end_of_a_turn(exported):
    """The model is made to say <|im_end|> as its third token: that is the last, though config.json does not name it."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, LogitsProcessorList

    model = AutoModelForCausalLM.from_pretrained(exported, dtype=torch.float32)
    end = AutoTokenizer.from_pretrained(exported).convert_tokens_to_ids("<|im_end|>")
    prompt = torch.tensor([[7, 8, 9]])

    def say_end_third(ids, scores):
        forced = torch.full_like(scores, float("-inf"))
        forced[:, end if ids.shape[1] == prompt.shape[1] + 2 else 10] = 0
        return forced

    processors = LogitsProcessorList([say_end_third])
    said = model.generate(prompt, max_new_tokens=8, do_sample=False, logits_processor=processors)
    assert said[0, prompt.shape[1] :].tolist() == [10, 10, end]


def test_an_export_replies_within_a_budget_and_the_same_every_time(exported):
    speaker = TransformersSpeaker(exported, seed=3)
    ask = partial(reply_to, speaker, [{"role": "user", "content": "Hi"}])
    text = []
    first = ask(Asked(budget=4, most=9), lambda kind, piece: text.append(piece))
    assert (first.thought_tokens, first.was_closed) == (3, True)
    assert 0 < first.answer_tokens <= 6
    assert "".join("".join(text).split()) == "".join((first.thought + first.answer).split())
    assert ask(Asked(budget=4, most=9)) == first
    silent = ask(Asked(thinking="off", most=5))
    assert (silent.thought, silent.answer_tokens) == ("", 5)
    assert {speaker.decode([token]) for token in speaker.stops} >= {"<|im_end|>"}


def test_mtp_weights_are_exported_under_the_released_names(exported):
    names = {name for name in load_file(exported / "model.safetensors") if name.startswith("mtp.")}
    assert {"mtp.layers.0.eh_proj.weight", "mtp.layers.0.norm.weight", "mtp.layers.1.norm.weight"} <= names
    assert {name.split(".")[2] for name in names} == {
        "0",
        "1",
    }  # one attention and one MoE layer, shared by both depths


def test_tokenizer_and_chat_template_come_along(exported):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(exported)
    text = tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False)
    assert "<|im_start|>user\nHi<|im_end|>" in text
    assert (
        tokenizer("naïve 你好\n").input_ids == AutoTokenizer.from_pretrained(TINY_TOKENIZER)("naïve 你好\n").input_ids
    )


def test_a_folder_without_mtp_is_imported_without_it_when_asked(exported, tmp_path):
    folder = shutil.copytree(exported, tmp_path / "hf")
    weights = load_file(folder / "model.safetensors")
    main = {name: weight for name, weight in weights.items() if not name.startswith("mtp.")}
    save_file(main, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"mtp\.layers\.0\.\*"):
        import_hf.import_hf(folder, tmp_path / "refused")
    import_hf.convert(folder, tmp_path / "imported", mtp=False)
    assert find_latest(tmp_path / "imported").saved["model"]["mtp_num_layers"] is None


def test_reading_the_folder_back_gives_the_checkpoint(checkpoint, exported):
    """Every parameter, MTP and expert biases included, to the last bit."""
    with cpu.backend(), single_process_group(seed=9):
        from megatron.bridge.training.model_load_save import load_megatron_model

        [before] = load_megatron_model(
            str(find_latest(checkpoint).folder), use_cpu_init=True, skip_temp_dist_context=True
        )
        provider = hf_provider(exported, load_weights=True)
        cpu.use_cpu(provider)
        provider.finalize()
        [after] = provider.provide_distributed_model(wrap_with_ddp=False)
        expected = before.state_dict()
        for name, value in after.state_dict().items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(value, expected.pop(name)), name
        assert not [name for name, value in expected.items() if isinstance(value, torch.Tensor)]


def test_importing_the_folder_gives_a_checkpoint_to_start_from(checkpoint, exported, tmp_path):
    import_hf.convert(exported, tmp_path / "start")
    with cpu.backend(), single_process_group(seed=9):
        from megatron.bridge.training.model_load_save import load_megatron_model

        before, after = (
            load_megatron_model(str(find_latest(folder).folder), use_cpu_init=True, skip_temp_dist_context=True)[0]
            for folder in (checkpoint, tmp_path / "start")
        )
        expected = before.state_dict()
        for name, value in after.state_dict().items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(value, expected[name]), name
