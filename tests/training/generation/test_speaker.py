"""A small model of transformers talks; damaged, it is refused in one sentence."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from nemotron.errors import UserError
from nemotron.training.generation.speaker import TransformersSpeaker

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
