"""Misspelt Megatron-Bridge settings, refused without importing it."""

import subprocess
import sys

import pytest

from nemotron.errors import UserError
from nemotron.training.config import SftConfig
from nemotron.training.recipe import known_settings


def test_settings_that_megatron_bridge_has_pass():
    known_settings.check_known_keys(SftConfig(train={"train_iters": 5}, dataset={"pad_seq_to_mult": 8}), {})


def test_a_misspelt_setting_names_its_place_and_the_nearest():
    with pytest.raises(UserError) as error:
        known_settings.check_known_keys(SftConfig(train={"train_itres": 5}), {"train.train_itres": "my.yaml:4"})
    assert error.value.message.startswith("my.yaml:4: train.train_itres is not a setting of Megatron-Bridge")
    assert error.value.hint == 'Did you mean "train.train_iters"?'


@pytest.mark.parametrize("installed", ["0.6.2", "0.4.2", None])
def test_a_setting_of_either_line_passes_wherever_the_job_is_written(monkeypatch, installed):
    """The container's release may be another than the one on the machine that submits to it."""
    monkeypatch.setattr(known_settings, "_installed_release", lambda: installed)
    of_one_line_each = {"muon_use_nesterov": True, "muon_nesterov": True}
    known_settings.check_known_keys(SftConfig(optimizer=of_one_line_each), {})
    with pytest.raises(UserError, match=r"is not a setting of Megatron-Bridge 0\.4\.2 or 0\.6\.2"):
        known_settings.check_known_keys(SftConfig(optimizer={"muon_use_nestorov": True}), {})


def test_another_release_is_left_to_its_own_classes(monkeypatch):
    monkeypatch.setattr(known_settings, "_installed_release", lambda: "0.7.0")
    known_settings.check_known_keys(SftConfig(train={"a_setting_of_0_7": 5}), {})


@pytest.mark.megatron
def test_the_list_is_that_of_the_installed_release():
    check = [sys.executable, "tools/list_megatron_keys.py", "--check"]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
