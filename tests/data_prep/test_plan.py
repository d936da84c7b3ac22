"""The plan: what the run hash follows, and settings that cannot work."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nemotron.data_prep import tokenize_inputs
from nemotron.data_prep.config import DataPrepConfig
from nemotron.data_prep.pipeline import prepare
from nemotron.data_prep.plan import make_plan
from nemotron.errors import UserError

MakeConfig = Callable[..., DataPrepConfig]


@pytest.fixture
def config(
    make_config: MakeConfig, write_rows: Callable[..., Path], chat: Callable[..., Any], tmp_path: Path
) -> MakeConfig:
    """A config for one row, with a template that compiles in no time."""
    write_rows("chat.jsonl", [chat("Hi", "Hello")])
    template = tmp_path / "small.jinja"
    template.write_text("{{ messages }}{{ eos_token }}")
    return lambda **settings: make_config("chat.jsonl", **{"chat_template": str(template), **settings})


def test_a_plan_writes_nothing(config: MakeConfig, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    plan = make_plan(config())
    assert sorted(tmp_path.iterdir()) == sorted({*before, tmp_path / "blend.json"})
    assert dict(plan.rows())["run hash"] == plan.run_hash


@pytest.mark.parametrize("encoder", ["auto", "gigatoken", "tokenizers"])
def test_a_plan_chooses_no_encoder(config: MakeConfig, monkeypatch: pytest.MonkeyPatch, encoder: str) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("an encoder was chosen")

    monkeypatch.setattr(tokenize_inputs, "choose_for_run", refuse)
    monkeypatch.setitem(sys.modules, "gigatoken", None)  # importing it fails
    assert make_plan(config(encoder=encoder)).run_hash
    with pytest.raises(AssertionError, match="an encoder was chosen"):
        prepare(config(encoder=encoder))


@pytest.mark.parametrize(
    "setting", [{"workers": 3}, {"force": True}, {"config_name": "x"}, {"output_dir": "/elsewhere"}]
)
def test_what_does_not_change_the_output_does_not_change_the_hash(config: MakeConfig, setting: dict[str, Any]) -> None:
    changed = config()
    for key, value in setting.items():
        setattr(changed, key, value)
    assert make_plan(changed).run_hash == make_plan(config()).run_hash


PACKING_ONLY = [
    {"pack_size": 512}, {"seed": 1}, {"algorithm": "best_fit"}, {"num_shards": 4}, {"pad_to_multiple": 2},
    {"blend.samples": 1},
    {"overlong": "drop"}, {"max_doc_tokens": 100}, {"dedupe": True}, {"train_ratio": 0.5, "test_ratio": 0.5},
]  # fmt: skip
TOKENS_TOO = [
    {"messages_field": "m"},
    {"format": "openai"},
    {"used_in_filter": "x"},
    {"sample": 5},
    {"used_in_field": "u"},
]


@pytest.mark.parametrize("setting", PACKING_ONLY)
def test_packing_and_splits_do_not_need_new_tokens(config: MakeConfig, setting: dict[str, Any]) -> None:
    before, after = make_plan(config()), make_plan(config(**setting))
    assert after.run_hash != before.run_hash
    assert after.datasets[0].files[0].folder == before.datasets[0].files[0].folder


@pytest.mark.parametrize("setting", TOKENS_TOO)
def test_what_changes_the_tokens_changes_their_folder(config: MakeConfig, setting: dict[str, Any]) -> None:
    before, after = make_plan(config()), make_plan(config(**setting))
    assert after.run_hash != before.run_hash
    assert after.datasets[0].files[0].folder.name != before.datasets[0].files[0].folder.name


def test_the_hash_follows_the_contents_of_inputs_and_template(
    make_config: MakeConfig, write_rows: Callable[..., Path], chat: Callable[..., Any], tmp_path: Path
) -> None:
    template = tmp_path / "chat.jinja"
    hashes = []
    for answer, source in [("Hello", "{{ messages }}"), ("Hello!", "{{ messages }}"), ("Hello", "{{ messages }}.")]:
        write_rows("chat.jsonl", [chat("Hi", answer)])
        template.write_text(source + "{{ eos_token }}")
        hashes.append(make_plan(make_config("chat.jsonl", chat_template=str(template))).run_hash)
    assert len(set(hashes)) == 3


def test_changed_weights_do_not_need_new_tokens(
    make_config: MakeConfig, write_rows: Callable[..., Path], chat: Callable[..., Any]
) -> None:
    plans = []
    for name in ("a", "b"):
        write_rows(f"{name}.jsonl", [chat("Hi", name)])
    for weight in (1, 2):
        blend = {"datasets": [{"path": "a.jsonl", "weight": weight}, {"path": "b.jsonl", "weight": 1}]}
        plans.append(make_plan(make_config(blend=blend)))
    assert plans[0].run_hash != plans[1].run_hash
    folders = [[file.folder for dataset in plan.datasets for file in dataset.files] for plan in plans]
    assert folders[0] == folders[1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train_ratio": 0.5}, "train_ratio, valid_ratio and test_ratio are 0.5, 0 and 0."),
        ({"train_ratio": 1.5, "test_ratio": -0.5}, "They must be at least 0 and sum to 1."),
        ({"pack_size": 1}, "pack_size is 1."),
        ({"sample": 0}, "sample is 0."),
        ({"workers": 0}, "workers is 0."),
        ({"blend.samples": 0}, "blend.samples is 0."),
        ({"pad_to_multiple": 256}, "pad_to_multiple is 256, pack_size 256."),
        ({"chat_template": "nemotron4"}, 'Did you mean "nemotron3"?'),
    ],
)
def test_settings_that_cannot_work_are_refused(config: MakeConfig, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        make_plan(config(**settings))
    assert message in str(error.value)


def test_a_file_in_place_of_the_artifacts_is_refused_before_any_input_is_read(
    config: MakeConfig, tmp_path: Path
) -> None:
    wanted = config()
    wanted.blend_path, wanted.run.artifacts = str(tmp_path / "nowhere.json"), str(tmp_path / "small.jinja")
    with pytest.raises(UserError, match=r"small\.jinja"):
        make_plan(wanted)


def test_a_sample_has_its_own_folder(config: MakeConfig, tmp_path: Path) -> None:
    assert make_plan(config(sample=5)).output_dir == tmp_path / "out" / "sample-5"


def test_the_work_of_a_plan_has_the_seed_of_its_sample(config: MakeConfig) -> None:
    [work] = make_plan(config(sample=1, sample_seed=7)).tokenize_works(0)
    assert work.sample_seed == 7
    assert work.sample
