"""Data and checkpoints that do not belong to the model are refused by name."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from nemotron.data_prep.config import TokenizerConfig
from nemotron.data_prep.tokenization.tokenizer import load_tokenizer
from nemotron.errors import UserError
from nemotron.training.checks.data_and_model import check_model_folder, check_padding, check_same_model
from nemotron.training.checks.tokenizer import check_tokenizer, check_vocabulary
from nemotron.training.config import RecipeConfig, SftConfig
from nemotron.training.prepared_data import PreparedData


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
    (tmp_path / "words").mkdir()
    check_tokenizer(
        SftConfig(tokenizer={"tokenizer_model": "words"}), data(tokenizer={"model": str(tmp_path / "words")})
    )


def test_another_tokenizer_is_refused():
    config = SftConfig(tokenizer={"tokenizer_model": "nvidia/other"})
    with pytest.raises(
        UserError, match="tokenizer_model is nvidia/other, but SFTDataArtifact-sft:v1 was made with mine"
    ):
        check_tokenizer(config, data(tokenizer={"model": "mine"}))


TINY = Path(__file__).parents[3] / "config/data_prep/tiny/tokenizer"


def tokenizer_folder(folder, swap=False):
    """A copy of the tiny tokenizer, written anew; or with two tokens that have each other's ids."""
    folder.mkdir()
    described = json.loads((TINY / "tokenizer.json").read_text())
    if swap:
        vocab = described["model"]["vocab"]
        one, other = list(vocab)[-2:]
        vocab[one], vocab[other] = vocab[other], vocab[one]
    (folder / "tokenizer.json").write_text(json.dumps(described))
    shutil.copyfile(TINY / "tokenizer_config.json", folder / "tokenizer_config.json")
    return folder


def made_with(folder):
    tokenizer = load_tokenizer(TokenizerConfig(model=str(folder)))
    recorded = {"model": str(folder), "digest": tokenizer.digest, "vocab_size": 2048, "eos_id": tokenizer.eos_id}
    return data(tokenizer=recorded)


def test_the_models_own_tokenizer_is_compared_token_by_token(tmp_path):
    same, other = tokenizer_folder(tmp_path / "same"), tokenizer_folder(tmp_path / "other", swap=True)
    check_tokenizer(SftConfig(recipe=RecipeConfig(hf_model=str(same))), made_with(TINY))
    with pytest.raises(UserError, match=r"which is not that of the model .*/other: its tokens have other ids there"):
        check_tokenizer(SftConfig(recipe=RecipeConfig(hf_model=str(other))), made_with(TINY))


def test_the_tokenizer_of_what_training_starts_from_is_compared_too(tmp_path):
    same, other = tokenizer_folder(tmp_path / "same"), tokenizer_folder(tmp_path / "other", swap=True)
    for folder in (same, other):
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").touch()
    check_tokenizer(SftConfig(), made_with(TINY), same)
    with pytest.raises(UserError, match=r"which is not that of the model .*/other"):
        check_tokenizer(SftConfig(), made_with(TINY), other)

    saved = tmp_path / "checkpoints" / "iter_0000004"
    saved.mkdir(parents=True)
    (saved.parent / "latest_checkpointed_iteration.txt").write_text("4")
    (saved / "run_config.yaml").write_text(json.dumps({"tokenizer": {"tokenizer_model": str(other)}}))
    with pytest.raises(UserError, match=r"which is not that of the model .*/other"):
        check_tokenizer(SftConfig(), made_with(TINY), saved.parent)


def test_a_copy_of_the_datas_tokenizer_may_stand_in_for_it(tmp_path):
    copy = shutil.copytree(TINY, tmp_path / "copy")
    prepared = made_with(TINY)
    check_tokenizer(SftConfig(tokenizer={"tokenizer_model": str(copy)}), prepared)
    prepared.metadata["tokenizer"]["model"] = "/gone/tokenizer"
    check_tokenizer(SftConfig(tokenizer={"tokenizer_model": str(copy)}), prepared)
    with pytest.raises(UserError, match="made with the tokenizer /gone/tokenizer, which does not exist") as error:
        check_tokenizer(SftConfig(), prepared)
    assert "tokenizer.tokenizer_model=FOLDER" in error.value.hint
    check_tokenizer(SftConfig(), prepared, here=False)


def test_a_model_folder_without_config_is_refused_and_an_id_left_to_the_hub(tmp_path):
    check_model_folder("someone/model")
    check_model_folder("/lustre/model", here=False)
    with pytest.raises(UserError, match=r"which has no config\.json"):
        check_model_folder(str(tmp_path))
    with pytest.raises(UserError, match="/lustre/model, which does not exist"):
        check_model_folder("/lustre/model")


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
