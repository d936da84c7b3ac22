"""Data with another padding, tokenizer or vocabulary than the model needs is refused by name and number."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tests.training.checkpoints.made_up import write_checkpoint

from nemotron.data_prep.config import TokenizerConfig
from nemotron.data_prep.tokenizer.load import load_tokenizer
from nemotron.training.checkpoints.initial_weights import StartingPoint, find_start
from nemotron.training.checks.data import check_padding, check_sample_unit, check_tokenizer
from nemotron.training.checks.machine import check_tokenizer_is_here
from nemotron.training.config import LossConfig, RecipeConfig, SftConfig
from nemotron.training.prepared_data import DataTokenizer, PreparedData

NOWHERE = StartingPoint(None, "random weights")


def data(tokenizer=None):
    return PreparedData("SFTDataArtifact-sft:v1", Path("/data/splits"), {"train": 8}, tokenizer=tokenizer)


@pytest.mark.parametrize(("sample_unit", "has_column", "refused"), [
    ("conversation", False, True), ("conversation", True, False), ("sequence", False, False),
    ("conversation", None, False),  # data that is still to be made
])  # fmt: skip
def test_conversations_are_counted_only_where_the_data_says_which_sequences_are_of_one(
    sample_unit, has_column, refused
):
    config = SftConfig(loss=LossConfig(sample_unit=sample_unit))
    problems = [*check_sample_unit(config, replace(data(), has_conversation_targets=has_column))]
    assert bool(problems) is refused
    for problem in problems:
        assert "loss.sample_unit" in problem.message
        assert "conversation_targets" in problem.message
        assert "nemotron super3 data prep sft" in problem.hint


def test_the_datas_own_tokenizer_may_be_named_by_any_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "words").mkdir()
    settings = SftConfig(tokenizer={"tokenizer_model": "words"})
    assert [*check_tokenizer(settings, data(DataTokenizer(str(tmp_path / "words"))), NOWHERE)] == []


def test_another_tokenizer_is_refused():
    config = SftConfig(tokenizer={"tokenizer_model": "nvidia/other"})
    [problem] = check_tokenizer(config, data(DataTokenizer("mine")), NOWHERE)
    assert "tokenizer.tokenizer_model is nvidia/other" in problem.message
    assert " mine" in problem.message


TINY = Path(__file__).parents[3] / "config/data_prep/tiny/tokenizer"


def tokenizer_folder(folder, swap=False):
    """A copy of the tiny tokenizer, written again; or with two tokens that have each other's ids."""
    folder.mkdir()
    described = json.loads((TINY / "tokenizer.json").read_text())
    if swap:
        vocab = described["model"]["vocab"]
        one, other = list(vocab)[-2:]
        vocab[one], vocab[other] = vocab[other], vocab[one]
    (folder / "tokenizer.json").write_text(json.dumps(described))
    shutil.copyfile(TINY / "tokenizer_config.json", folder / "tokenizer_config.json")
    return folder


def recorded(folder):
    tokenizer = load_tokenizer(TokenizerConfig(model=str(folder)))
    return DataTokenizer(str(folder), tokenizer.digest, 2048, tokenizer.eos_id)


def made_with(folder):
    return data(recorded(folder))


def test_the_models_own_tokenizer_is_compared_token_by_token(tmp_path):
    same, other = tokenizer_folder(tmp_path / "same"), tokenizer_folder(tmp_path / "other", swap=True)
    assert [*check_tokenizer(SftConfig(recipe=RecipeConfig(hf_model=str(same))), made_with(TINY), NOWHERE)] == []
    [problem] = check_tokenizer(SftConfig(recipe=RecipeConfig(hf_model=str(other))), made_with(TINY), NOWHERE)
    assert str(other) in problem.message
    assert f"tokenizer.model={other}" in problem.hint


@pytest.mark.parametrize(("changed", "same"), [({}, True), ({"vocab_size": 2047}, False), ({"eos_id": 0}, False)])
def test_without_the_datas_tokenizer_only_sizes_can_be_compared(tmp_path, changed, same):
    """Of a rewritten file the digest is another. The model's is believed to be the same; one asked for is not."""
    rewritten = str(tokenizer_folder(tmp_path / "same"))
    prepared = data(replace(recorded(TINY), model="/gone/tokenizer", **changed))
    problems = [*check_tokenizer(SftConfig(recipe=RecipeConfig(hf_model=rewritten)), prepared, NOWHERE)]
    assert (problems == []) is same
    [problem] = check_tokenizer(SftConfig(tokenizer={"tokenizer_model": rewritten}), prepared, NOWHERE)
    assert f"tokenizer.tokenizer_model is {rewritten}" in problem.message


def start_at(folder):
    return find_start(SftConfig(checkpoint={"pretrained_checkpoint": str(folder)}))


def test_a_tokenizer_without_a_digest_is_no_proof_either_way(tmp_path):
    """Of the model's it is believed to be the same; of one that is asked for, not."""
    folder = str(tokenizer_folder(tmp_path / "same"))
    unknown = data(DataTokenizer("elsewhere"))
    assert [*check_tokenizer(SftConfig(recipe=RecipeConfig(hf_model=folder)), unknown, NOWHERE)] == []
    asked = SftConfig(recipe=RecipeConfig(hf_model=folder), tokenizer={"tokenizer_model": folder})
    [problem] = check_tokenizer(asked, unknown, NOWHERE)
    assert "tokenizer.tokenizer_model" in problem.message


def test_the_tokenizer_of_what_training_starts_from_is_compared_too(tmp_path):
    same, other = tokenizer_folder(tmp_path / "same"), tokenizer_folder(tmp_path / "other", swap=True)
    for folder in (same, other):
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").touch()
    assert [*check_tokenizer(SftConfig(), made_with(TINY), start_at(same))] == []
    [problem] = check_tokenizer(SftConfig(), made_with(TINY), start_at(other))
    assert str(other) in problem.message

    saved = write_checkpoint(tmp_path / "checkpoints", 4, {"tokenizer": {"tokenizer_model": str(other)}})
    [problem] = check_tokenizer(SftConfig(), made_with(TINY), start_at(saved.parent))
    assert str(other) in problem.message


def test_a_copy_of_the_datas_tokenizer_may_stand_in_for_it(tmp_path):
    copy = SftConfig(tokenizer={"tokenizer_model": str(shutil.copytree(TINY, tmp_path / "copy"))})
    prepared = made_with(TINY)
    assert [*check_tokenizer(copy, prepared, NOWHERE)] == []
    prepared = data(replace(recorded(TINY), model="/gone/tokenizer"))
    assert [*check_tokenizer(copy, prepared, NOWHERE), *check_tokenizer_is_here(copy, prepared)] == []
    # Another machine may have the folder; the one that trains needs it.
    assert [*check_tokenizer(SftConfig(), prepared, NOWHERE)] == []
    [problem] = check_tokenizer_is_here(SftConfig(), prepared)
    assert "/gone/tokenizer" in problem.message
    assert "tokenizer.tokenizer_model=FOLDER" in problem.hint


def test_data_that_does_not_record_its_tokenizer_needs_it_said():
    [problem] = check_tokenizer(SftConfig(), data(), NOWHERE)
    assert "tokenizer.tokenizer_model" in problem.hint
    assert [*check_tokenizer_is_here(SftConfig(), data())] == []
    assert [*check_tokenizer(SftConfig(tokenizer={"tokenizer_model": str(TINY)}), data(), NOWHERE)] == []
    still_to_be_made = replace(data(), packs={})
    assert [*check_tokenizer(SftConfig(), still_to_be_made, NOWHERE)] == []


def padded(**recorded):
    return replace(data(), **recorded)


@pytest.mark.parametrize(("ranks", "padded_to"), [(1, 1), (2, 4), (2, 8), (8, 16)])
def test_padding_that_context_parallel_ranks_can_share(ranks, padded_to):
    settings = SftConfig(model={"context_parallel_size": ranks})
    assert [*check_padding(settings, padded(pad_to_multiple=padded_to))] == []


@pytest.mark.parametrize(("ranks", "padded_to"), [(2, 1), (2, 2), (4, 4), (3, 8)])
def test_padding_that_they_cannot_share_names_the_one_that_is_needed(ranks, padded_to):
    settings = SftConfig(model={"context_parallel_size": ranks})
    [problem] = check_padding(settings, padded(pad_to_multiple=padded_to))
    assert f"pad_to_multiple={padded_to}" in problem.message
    assert f"a multiple of {2 * ranks}," in problem.message
    assert f"pad_to_multiple={2 * ranks}" in problem.hint


@pytest.mark.parametrize("asked", [None, 0, 1, 4, 8])
def test_padding_that_divides_that_of_the_data_may_be_asked_for(asked):
    config = SftConfig(dataset={"pad_seq_to_mult": asked})
    assert [*check_padding(config, replace(data(), pad_to_multiple=8))] == []


def test_the_trainers_padding_follows_from_the_data():
    [problem] = check_padding(SftConfig(dataset={"pad_seq_to_mult": 4}), padded(pad_to_multiple=2))
    assert "dataset.pad_seq_to_mult is 4" in problem.message
    assert len([*check_padding(SftConfig(dataset={"pad_seq_to_mult": 3}), padded(pad_to_multiple=1))]) == 1
    assert [*check_padding(SftConfig(dataset={"pad_seq_to_mult": 4}), padded(pad_to_multiple=8))] == []
