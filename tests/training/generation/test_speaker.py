"""A small model of transformers talks; damaged, it is refused in one sentence."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from nemotron.errors import UserError
from nemotron.training.generation import speaker as module
from nemotron.training.generation.speaker import (
    TransformersSpeaker,
    _base_of,
    _describe,
    _options_at,
    _sampling_of,
    refuse_without_transformers,
)

TOKENIZER = Path(__file__).parents[3] / "config" / "data_prep" / "tiny" / "tokenizer"
MESSAGES = [{"role": "user", "content": "Hi"}]


@pytest.fixture(scope="module")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `model export` writes it, with a Llama of one layer."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("small")
    tokenizer = AutoTokenizer.from_pretrained(TOKENIZER)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), eos_token_id=tokenizer.eos_token_id, **sizes))
    model.save_pretrained(folder)
    tokenizer.chat_template = "{% for message in messages %}{{ message.content }}{% endfor %}"
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def folder(small_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_model, tmp_path / "model"))


def test_at_temperature_0_it_says_the_same_every_time(folder: Path) -> None:
    speaker = TransformersSpeaker(folder, temperature=0)
    ids = speaker.encode(speaker.render(MESSAGES))
    heard: list[int] = []
    said = speaker.generate(ids, 5, speaker.stops, heard.append)
    assert 1 <= len(said) <= 5
    assert said == heard == speaker.generate(ids, 5, speaker.stops, lambda token: None)
    assert speaker.generate(ids, 0, speaker.stops, heard.append) == []
    assert len(speaker.generate(ids, 1, speaker.stops, heard.append)) == 1


@pytest.mark.parametrize(
    ("temperature", "options"),
    [
        (None, {}),  # as generation_config.json says
        (0, {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}),
        (0.7, {"do_sample": True, "temperature": 0.7}),
    ],
)
def test_a_temperature_of_0_turns_sampling_and_its_options_off(temperature, options) -> None:
    assert _options_at(temperature) == options


def test_the_same_seed_says_the_same(folder: Path) -> None:
    """With weights that say nothing, any token of hundreds is as likely as another."""
    said = []
    for seed in (1, 1, 2):
        speaker = TransformersSpeaker(folder, temperature=1.0, seed=seed)
        said.append(speaker.generate(speaker.encode("Hi"), 8, set(), lambda token: None))
    assert said[0] == said[1] != said[2]


def test_the_prompt_ends_where_the_reply_begins(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text(
        "{{ messages[0].content }}{{ mode }}{% if add_generation_prompt %}: {% endif %}"
    )
    assert TransformersSpeaker(folder).render(MESSAGES, mode="!") == "Hi!: "


def test_a_tokenizer_without_a_template_cannot_chat(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(UserError, match="no chat template"):
        TransformersSpeaker(folder).render(MESSAGES)


def test_a_reply_ends_at_the_tokenizers_end_or_at_those_of_the_model(folder: Path) -> None:
    (folder / "generation_config.json").write_text('{"eos_token_id": [7, 9]}')
    speaker = TransformersSpeaker(folder)
    assert speaker.stops == {7, 9, speaker.token("<|im_end|>")}


@pytest.mark.parametrize(
    ("missing", "adapters", "named"),
    [("torch", False, "torch"), ("transformers", False, "transformers"), ("peft", True, "peft"), ("peft", False, None)],
)
def test_a_package_that_is_missing_is_named(monkeypatch, missing: str, adapters: bool, named: str | None) -> None:
    """peft is only needed for adapters."""
    monkeypatch.setattr(module, "is_there", lambda name: name != missing)
    if named is None:
        refuse_without_transformers(adapters=adapters)
        return
    with pytest.raises(UserError, match=f"needs {named}, which") as caught:
        refuse_without_transformers(adapters=adapters)
    assert f"pip install {named}" in str(caught.value.hint)


@pytest.mark.parametrize(("error", "said"), [(ValueError("\n no\nway\n"), "no"), (KeyError, "KeyError")])
def test_an_error_is_said_in_its_first_line_or_by_its_name(error, said) -> None:
    assert _describe(error() if isinstance(error, type) else error) == said


def test_an_error_that_has_another_cause_is_passed_on(folder: Path, monkeypatch) -> None:
    speaker = TransformersSpeaker(folder)

    def fail(**options: object) -> None:
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(speaker._model, "generate", fail)
    with pytest.raises(RuntimeError, match="CUDA out of memory"):
        speaker.generate([1], 3, speaker.stops, lambda token: None)


def test_a_text_is_tokens_and_tokens_are_a_text(folder: Path) -> None:
    from tokenizers.processors import TemplateProcessing

    speaker = TransformersSpeaker(folder)
    ids = speaker.encode("Hi <|im_end|> ,")
    assert speaker.decode(ids) == "Hi <|im_end|> ,"  # no space is taken out
    assert speaker.token("<|im_end|>") in ids
    assert speaker.token("Hi there, you") is None
    speaker._tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|im_end|> $A", special_tokens=[("<|im_end|>", ids[1])]
    )
    assert speaker.encode("Hi <|im_end|> ,") == ids  # the template has written the special tokens already


def test_what_else_the_model_asks_of_transformers_is_not_done(folder: Path) -> None:
    """Assisted generation, beams, stop strings: a chat would end in a traceback."""
    (folder / "generation_config.json").write_text('{"eos_token_id": 7, "num_beams": 3, "stop_strings": ["a"]}')
    speaker = TransformersSpeaker(folder)
    assert 7 in speaker.stops
    assert len(speaker.generate(speaker.encode("Hi"), 3, speaker.stops, lambda token: None)) >= 1


def halve(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("model.safetensors", halve),
        ("model.safetensors", lambda file: file.write_bytes(b"")),
        ("tokenizer.json", halve),
        ("tokenizer.json", lambda file: file.write_text("[]")),
        ("config.json", lambda file: file.write_text("{")),
        ("generation_config.json", halve),
        ("adapter_config.json", lambda file: file.write_text("{")),
        ("adapter_config.json", lambda file: file.write_text("[]")),
        ("adapter_config.json", lambda file: file.write_text("{}")),
        ("adapter_config.json", lambda file: file.write_text("[" * 100_000)),
    ],
)
def test_a_damaged_file_is_refused(folder: Path, name: str, damage: Callable[[Path], None]) -> None:
    damage(folder / name)
    with pytest.raises(UserError, match=str(folder)):
        TransformersSpeaker(folder)


def test_what_a_template_refuses_is_said_in_its_words(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("{{ raise_exception('no system prompts') }}")
    with pytest.raises(UserError, match="no system prompts"):
        TransformersSpeaker(folder).render(MESSAGES)


def test_weights_that_are_no_numbers_are_named(folder: Path) -> None:
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM.from_pretrained(folder)
    model.lm_head.weight.data.fill_(float("nan"))
    model.save_pretrained(folder)
    speaker = TransformersSpeaker(folder, temperature=1.0)
    with pytest.raises(UserError, match="NaN"):
        speaker.generate(speaker.encode("Hi"), 3, speaker.stops, lambda token: None)


def adapter(folder: Path, base: object) -> Path:
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base}))
    return folder


def test_adapters_name_a_model_that_is_there_or_one_of_the_hub(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    assert _base_of(adapter(tmp_path, "someone/model")) == "someone/model"
    for absent in (None, str(base), str(tmp_path / "none")):
        with pytest.raises(UserError, match=f"not at {absent}"):
            _base_of(adapter(tmp_path, absent))
    (base / "model.safetensors").touch()
    (base / "notes.txt").touch()
    assert _base_of(adapter(tmp_path, str(base))) == str(base)


def test_adapters_need_peft_and_room_for_their_base(tmp_path: Path, monkeypatch) -> None:
    def refuse(model: str) -> None:
        raise UserError(f"{model} does not fit.", "")

    monkeypatch.setattr(module, "_place", refuse)
    for missing, said in (("", "someone/model does not fit"), ("peft", "needs peft")):
        monkeypatch.setattr(module, "is_there", lambda name, missing=missing: name != missing)
        with pytest.raises(UserError, match=said):
            TransformersSpeaker(adapter(tmp_path, "someone/model"))


def test_a_model_of_the_hub_samples_as_its_loaded_config_says() -> None:
    named = SimpleNamespace(to_dict=lambda: {"temperature": 0.3})
    loaded = SimpleNamespace(config=SimpleNamespace(vocab_size=9), generation_config=named)
    assert _sampling_of("someone/model", loaded).as_options()["temperature"] == 0.3


@pytest.mark.parametrize(
    ("gpus", "free", "placed"),
    [
        ([], 200, {}),
        ([], 199, None),
        ([200], 0, {"device_map": {"": 0}}),
        ([199, 1], 0, {"device_map": "auto"}),
        ([199], 200, {}),
        ([199], 199, None),
    ],
)
def test_a_model_goes_where_it_fits(tmp_path: Path, monkeypatch, gpus: list[int], free: int, placed: object) -> None:
    import torch

    (tmp_path / "model.safetensors").write_bytes(bytes(100))
    monkeypatch.setattr(module, "BESIDE_WEIGHTS", 2)
    monkeypatch.setattr(module, "free_memory", lambda: free)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(gpus))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda number: (gpus[number], 999))
    if placed is None:
        with pytest.raises(UserError, match="needs 200 bytes"):
            module._place(str(tmp_path))
    else:
        assert module._place(str(tmp_path)) == placed


@pytest.mark.parametrize(("gpus", "said"), [([], "1.0 GiB here."), ([1, 2], "1.0 GiB here and 3.0 GiB on GPUs.")])
def test_a_model_that_fits_nowhere_is_refused_with_all_numbers(
    tmp_path: Path, monkeypatch, gpus: list[int], said: str
) -> None:
    """A tenth more than the weights is needed."""
    import torch

    (tmp_path / "model.safetensors").touch()
    os.truncate(tmp_path / "model.safetensors", 10 * 2**30)  # which takes no room on the disk
    monkeypatch.setattr(module, "free_memory", lambda: 2**30)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(gpus))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda number: (gpus[number] * 2**30, 999))
    with pytest.raises(UserError) as caught:
        module._place(str(tmp_path))
    needed = "needs 11,811,160,064 bytes (11.0 GiB) of memory: its weights are 10,737,418,240. Free are"
    assert caught.value.message == f"{tmp_path} {needed} {said}"
    assert f"vllm serve {tmp_path}" in str(caught.value.hint)
