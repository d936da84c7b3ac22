"""Data and checkpoints that do not belong to the model are refused by name."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from nemotron.errors import UserError
from nemotron.training.checks import check_padding, check_same_model, check_tokenizer, check_vocabulary
from nemotron.training.config import SftConfig
from nemotron.training.prepared import PreparedData


def data(**metadata):
    return PreparedData(Path("/data/splits"), {"train": 8}, metadata, "SFTDataArtifact-sft:v1")


@pytest.mark.parametrize("model_vocab_size", [131072, 131584])
def test_a_vocabulary_that_the_model_pads_is_the_models(model_vocab_size):
    check_vocabulary(data(vocab_size=131072), model_vocab_size, "super")


@pytest.mark.parametrize("model_vocab_size", [131071, 256000])
def test_another_vocabulary_is_refused_with_both_sizes(model_vocab_size):
    prepared = data(vocab_size=131072, tokenizer={"model": "some/tokenizer"})
    with pytest.raises(UserError) as error:
        check_vocabulary(prepared, model_vocab_size, "super")
    assert f"some/tokenizer of 131,072 tokens, but the model super has {model_vocab_size:,}" in error.value.message


def test_data_that_does_not_record_its_vocabulary_is_taken_at_its_word():
    check_vocabulary(data(), 2048, "tiny")


def test_the_datas_own_tokenizer_may_be_named_by_any_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_tokenizer(
        SftConfig(tokenizer={"tokenizer_model": "words"}), data(tokenizer={"model": str(tmp_path / "words")})
    )


def test_another_tokenizer_is_refused():
    config = SftConfig(tokenizer={"tokenizer_model": "nvidia/other"})
    with pytest.raises(
        UserError, match="tokenizer_model is nvidia/other, but SFTDataArtifact-sft:v1 was made with mine"
    ):
        check_tokenizer(config, data(tokenizer={"model": "mine"}))


@pytest.mark.parametrize(("ranks", "padded_to"), [(1, 1), (2, 4), (2, 8), (8, 16)])
def test_padding_that_context_parallel_ranks_can_share(ranks, padded_to):
    check_padding(SftConfig(model={"context_parallel_size": ranks}), data(pad_to_multiple=padded_to))


@pytest.mark.parametrize(("ranks", "padded_to"), [(2, 1), (2, 2), (4, 4), (3, 8)])
def test_padding_that_they_cannot_share_names_the_one_that_is_needed(ranks, padded_to):
    with pytest.raises(UserError) as error:
        check_padding(SftConfig(model={"context_parallel_size": ranks}), data(pad_to_multiple=padded_to))
    assert f"has pad_to_multiple={padded_to}" in error.value.message
    assert f"Prepare the data with pad_to_multiple={2 * ranks}" in error.value.hint


@pytest.fixture
def checkpoint(tmp_path):
    (tmp_path / "run_config.yaml").write_text(
        "model: {hidden_size: 128, hybrid_layer_pattern: 'ME|M*/*E', vocab_size: 512}\n"
    )
    return tmp_path


def model(**changed):
    return SimpleNamespace(**{"hidden_size": 128, "hybrid_layer_pattern": "MEM*", "vocab_size": 512, **changed})


def test_pipeline_stages_and_mtp_layers_do_not_make_another_model(checkpoint):
    check_same_model(model(), checkpoint)


@pytest.mark.parametrize("changed", [{"hidden_size": 256}, {"hybrid_layer_pattern": "MEM*E"}, {"vocab_size": 1024}])
def test_another_model_is_refused_by_what_differs(checkpoint, changed):
    [(name, ours)] = changed.items()
    with pytest.raises(UserError, match="is of another model") as error:
        check_same_model(model(**changed), checkpoint)
    assert f"its {name} is {getattr(model(), name)}" in error.value.message
    assert f"and {ours} here" in error.value.message
