"""Hugging Face folders that lack weights, before Megatron-Bridge passes over them."""

import json
import logging

import pytest
import torch
from safetensors.torch import save_file
from tests.training.checkpoints.made_up import HF_CONFIG, MAIN, MTP, write_hf_folder

from nemotron.errors import UserError
from nemotron.training.checkpoints import hf_folder
from nemotron.training.checkpoints.hf_folder import _end_of, check_replaceable, list_few, weight_names
from nemotron.training.weights.import_hf import all_found, import_hf


def sharded(folder, names, files):
    weight_map = dict.fromkeys(names, "model-00001-of-00001.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    for file in files:
        save_file({"any": torch.zeros(1)}, folder / file)
    (folder / "config.json").write_text(json.dumps(HF_CONFIG))


def test_names_are_read_from_the_file_and_from_an_index(tmp_path):
    assert weight_names(write_hf_folder(tmp_path, MAIN)) == set(MAIN)
    sharded(tmp_path, [*MAIN, *MTP], ["model-00001-of-00001.safetensors"])
    assert weight_names(tmp_path) == {*MAIN, *MTP}


def test_a_file_that_the_index_names_must_be_there(tmp_path):
    sharded(tmp_path, MAIN, [])
    with pytest.raises(UserError, match=r"model-00001-of-00001\.safetensors"):
        weight_names(tmp_path)


def test_several_files_that_are_missing_are_named(tmp_path):
    sharded(tmp_path, MAIN, [])
    index = tmp_path / hf_folder.INDEX
    where = {name: f"model-{number}.safetensors" for number, name in enumerate(MAIN)}
    index.write_text(json.dumps({"weight_map": where}))
    with pytest.raises(UserError, match=r"model-0\.safetensors, model-1\.safetensors.* are missing"):
        weight_names(tmp_path)


def test_the_first_names_are_listed_and_more_are_counted():
    names = [*"abcdefghij"]
    most = hf_folder._MOST_NAMED
    assert list_few(names[:most]) == ", ".join(names[:most])
    assert list_few(names[: most + 1]) == f"{', '.join(names[:most])} and 1 more"


def test_a_folder_without_weights_and_a_file_that_is_none_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"no \*\.safetensors"):
        weight_names(tmp_path)
    for content in (b"<html>", b"\xff" * 8, (8).to_bytes(8, "little") + b"{broken}"):
        (tmp_path / "model.safetensors").write_bytes(content)
        with pytest.raises(UserError, match=r"model\.safetensors is not readable"):
            weight_names(tmp_path)


def test_import_refuses_it_too(tmp_path):
    with pytest.raises(UserError, match=r"mtp\.layers\.0\.\*") as error:
        import_hf(write_hf_folder(tmp_path, MAIN), tmp_path / "out")
    assert "--no-mtp" in error.value.hint
    assert not (tmp_path / "out").exists()


def convert(folder, *warnings):
    """What a conversion of `folder` does that warns of this."""
    with all_found(folder):
        for warning in warnings:
            logging.getLogger("megatron.bridge.models.conversion.model_bridge").warning("WARNING: %s", warning)


def test_a_conversion_leaves_the_log_of_the_bridge_as_it_was(tmp_path, monkeypatch):
    log = logging.getLogger("megatron.bridge.models.conversion.model_bridge")
    monkeypatch.setattr(log, "level", logging.ERROR)
    handlers = list(log.handlers)
    with all_found(tmp_path):
        assert log.isEnabledFor(logging.WARNING)
    assert (log.level, log.handlers) == (logging.ERROR, handlers)


def test_what_a_conversion_passes_over_is_an_error(tmp_path):
    convert(tmp_path, "something else")
    warnings = ["Can't find a in hf_keys", "Can't find the following HF parameters in hf_keys: ['b', 'c']"]
    with pytest.raises(UserError, match=r"a, \['b', 'c'\],.*config\.json"):
        convert(tmp_path, *warnings)


def test_a_file_of_no_tensors_has_no_weights(tmp_path):
    save_file({}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert weight_names(tmp_path) == set()


def test_a_file_that_is_not_as_long_as_its_header_says_is_refused(tmp_path):
    file = write_hf_folder(tmp_path, MAIN) / "model.safetensors"
    whole = file.read_bytes()
    for content in (whole[:-1], whole + b"x"):
        file.write_bytes(content)
        with pytest.raises(UserError, match=f"has {len(content)} bytes, and its header describes {len(whole)}"):
            weight_names(tmp_path)


@pytest.mark.parametrize("content", ["[]", "{}", '{"weight_map": []}', '{"weight_map": {"a": 1}}', "{", "[" * 100_000])
def test_an_index_that_is_none_is_refused(tmp_path, content):
    (tmp_path / "model.safetensors.index.json").write_text(content)
    with pytest.raises(UserError, match=r"index\.json is not readable as an index"):
        weight_names(tmp_path)


@pytest.mark.parametrize("change", [{"dtype": "F64"}, {"shape": [3]}, {"shape": None}, {"data_offsets": [8]}])
def test_a_tensor_that_its_bytes_cannot_be_is_refused(tmp_path, change):
    """Megatron-Bridge would say so only after a minute, in the end of a traceback."""
    described = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **change}}).encode()
    (tmp_path / "model.safetensors").write_bytes(len(described).to_bytes(8, "little") + described + bytes(8))
    with pytest.raises(UserError, match=r"model\.safetensors is not readable"):
        weight_names(tmp_path)


@pytest.mark.parametrize(
    ("types", "size"),
    [("BOOL U8 I8 F8_E4M3 F8_E5M2", 1), ("U16 I16 F16 BF16", 2), ("U32 I32 F32", 4), ("U64 I64 F64", 8)],
)
def test_the_bytes_of_a_tensor_follow_from_its_type(types, size):
    for name in types.split():
        tensor = {"dtype": name, "shape": [3, 5], "data_offsets": [8, 8 + 15 * size]}
        assert _end_of("w", tensor) == 8 + 15 * size
        with pytest.raises(ValueError, match=name):
            _end_of("w", {**tensor, "data_offsets": [8, 9 + 15 * size]})


def test_a_tensor_of_a_type_of_less_than_a_byte_is_left_to_the_library(tmp_path):
    described = json.dumps({"w": {"dtype": "F4", "shape": [4], "data_offsets": [0, 2]}}).encode()
    (tmp_path / "model.safetensors").write_bytes(len(described).to_bytes(8, "little") + described + bytes(2))
    assert weight_names(tmp_path) == {"w"}


@pytest.mark.parametrize(
    ("names", "replaceable"),
    [
        ([], True),
        (["config.json", "model.safetensors", "tokenizer.json"], True),
        (["config.json", "model.safetensors", "additional_chat_templates/rag.jinja"], True),
        (["config.json", "model.safetensors", "notes/mine.txt"], False),
        (["config.json"], False),
        (["model.safetensors"], False),
        (["notes.txt"], False),
    ],
)
def test_only_an_earlier_export_is_replaced(tmp_path, names, replaceable):
    target = tmp_path / "export"
    check_replaceable(target, "config.json")  # new
    target.mkdir()
    for name in names:
        (target / name).parent.mkdir(exist_ok=True)
        (target / name).touch()
    if replaceable:
        check_replaceable(target, "config.json")
    else:
        with pytest.raises(UserError, match="not an earlier export"):
            check_replaceable(target, "config.json")


def test_a_file_is_not_replaced_by_an_export(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="not an earlier export"):
        check_replaceable(tmp_path / "file", "config.json")


def test_an_index_may_say_more_than_where_weights_are(tmp_path):
    write_hf_folder(tmp_path, ["a.weight"])
    index = {"metadata": {"total_size": 8}, "weight_map": {"a.weight": "model.safetensors"}, "other": 1}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert weight_names(tmp_path) == {"a.weight"}
