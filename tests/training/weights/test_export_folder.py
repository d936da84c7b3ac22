"""What an export may replace, and what it writes besides the weights: without Megatron."""

import os
import stat
import sys
from types import ModuleType, SimpleNamespace

import pytest

from nemotron.config import config_dir
from nemotron.errors import UserError
from nemotron.training import bridge
from nemotron.training.checkpoints.checkpoint import Checkpoint
from nemotron.training.weights import export_hf, export_process

TINY_MODEL = config_dir() / "tiny_model"
TINY_TOKENIZER = config_dir() / "data_prep" / "tiny" / "tokenizer"


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """An export of some checkpoint to a folder: `asked(target)`; False when it is refused."""
    monkeypatch.setattr(export_process, "run_module", lambda *arguments: None)

    def ask(target):
        try:
            export_hf.export_hf(Checkpoint(tmp_path / "checkpoint"), target, TINY_MODEL, TINY_TOKENIZER)
        except UserError:
            return False
        return True

    return ask


@pytest.mark.parametrize(
    ("content", "replaced"),
    [
        ([], True),
        (["config.json", "model.safetensors"], True),
        (["config.json", "model-00001-of-00002.safetensors", "tokenizer.json"], True),
        (["config.json", "model.safetensors", "additional_chat_templates/"], True),
        (["config.json"], False),  # somebody's project
        (["model.safetensors"], False),
        (["notes.txt"], False),
        (["config.json", "model.safetensors", "mine/"], False),  # no export makes this folder
    ],
)
def test_only_an_empty_folder_or_an_earlier_export_is_replaced(asked, tmp_path, content, replaced):
    target = tmp_path / "hf"
    target.mkdir()
    for name in content:
        path = target / name
        path.mkdir() if name.endswith("/") else path.touch()
    assert asked(target) is replaced


def test_a_new_folder_is_made_and_a_file_is_not_replaced(asked, tmp_path):
    (tmp_path / "file").touch()
    assert asked(tmp_path / "new")
    assert not asked(tmp_path / "file")


@pytest.fixture
def saved(monkeypatch, tmp_path):
    """The folder that `save_hf_folder` fills: `saved(tokenizer)`, with weights that are private as safetensors' are."""

    def save_hf_weights(auto_bridge, model, folder):
        os.close(os.open(folder / "model.safetensors", os.O_CREAT, 0o600))

    megatron_bridge = ModuleType("megatron.bridge")
    vars(megatron_bridge)["AutoBridge"] = SimpleNamespace(from_hf_config=lambda config: None)
    monkeypatch.setitem(sys.modules, "megatron.bridge", megatron_bridge)
    monkeypatch.setattr(bridge, "installed", lambda: SimpleNamespace(save_hf_weights=save_hf_weights))

    def save(tokenizer):
        folder = tmp_path / "hf"
        folder.mkdir()
        export_hf.save_hf_folder([], folder, str(TINY_MODEL), str(tokenizer))
        return folder

    return save


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_weights_have_the_mode_that_the_umask_asks_for(saved, umask, mode):
    before = os.umask(umask)
    try:
        folder = saved(TINY_TOKENIZER)
    finally:
        os.umask(before)
    assert stat.S_IMODE((folder / "model.safetensors").stat().st_mode) == mode


def test_the_models_config_is_copied_unchanged(saved):
    assert (saved(TINY_TOKENIZER) / "config.json").read_bytes() == (TINY_MODEL / "config.json").read_bytes()


@pytest.mark.parametrize("own", ["{{ messages[0].content }}", None])
def test_the_tokenizers_own_chat_template_is_kept_and_a_missing_one_is_added(saved, tmp_path, own):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(TINY_TOKENIZER)
    tokenizer.chat_template = own
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    exported = AutoTokenizer.from_pretrained(saved(tmp_path / "tokenizer"))
    text = exported.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False)
    assert (text == "Hi") if own else ("<|im_start|>user\nHi<|im_end|>" in text)
