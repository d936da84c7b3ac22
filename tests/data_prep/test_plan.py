"""The plan: what the run hash follows, and settings that cannot work."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nemotron.data_prep import tokenize_inputs
from nemotron.data_prep.config import DataPrepConfig
from nemotron.data_prep.dialects.forms import Fields
from nemotron.data_prep.pipeline import prepare
from nemotron.data_prep.plan import MORE, make_admission, make_plan
from nemotron.data_prep.sources.blend import Dataset
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


def test_a_plan_says_what_will_be_done(config: MakeConfig, tmp_path: Path) -> None:
    plan = make_plan(config(workers=3))
    rows = dict(plan.rows())
    assert (rows["encoder"], rows["engine"]) == ("chosen when tokenizing starts", "3 processes of this machine")
    assert not rows.keys() & {"not used", "template's time", "missing"}
    (tmp_path / "small.jinja").write_text("{{ strftime_now('%Y') }}{{ messages }}{{ eos_token }}")
    blend = {"datasets": [{"path": "chat.jsonl", "text_field": "x"}, {"name": "gone", "path": None, "bring": "Yours."}]}
    changed = replace(plan, config=replace(plan.config, encoder="tokenizers", engine="ray", ray_address="ray:1"))
    rows = dict(changed.rows())
    assert (rows["encoder"], rows["engine"]) == ("tokenizers", "the Ray cluster at ray:1, 3 parts at a time")
    rows = dict(make_plan(config(blend=blend)).rows())
    assert rows["not used"] == "text_field of datasets[0]"
    assert "gone" in rows["missing"]
    assert "20" in rows["template's time"]


@pytest.mark.parametrize(
    ("given", "address", "workers", "said"),
    [
        ({"engine": "ray"}, None, None, "a Ray cluster of this machine, all its cores"),
        ({"engine": "ray"}, "ray:2", None, "the Ray cluster at ray:2, all its cores"),
        (
            {"engine": "ray", "ray_address": "ray:1", "workers": 2},
            "ray:2",
            2,
            "the Ray cluster at ray:1, 2 parts at a time",
        ),
    ],
)
def test_a_cluster_may_be_named_in_the_config_or_the_environment(
    config: MakeConfig,
    monkeypatch: pytest.MonkeyPatch,
    given: dict,
    address: str | None,
    workers: int | None,
    said: str,
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if address is not None:
        monkeypatch.setenv("RAY_ADDRESS", address)
    plan = make_plan(config())
    plan = replace(plan, config=replace(plan.config, **{"workers": None, **given}))
    assert plan.workers == workers
    assert dict(plan.rows())["engine"] == said


def test_what_a_dataset_says_of_its_fields_wins_over_the_config() -> None:
    config = DataPrepConfig(messages_field="m", tools_field="t", format="openai", used_in_filter="sft")
    plain = make_admission(Dataset("d", "d.jsonl"), config)
    assert (plain.fields, plain.used_in_filter, plain.checks) == (Fields("m", "t", "openai"), "sft", ())
    own = Dataset(
        "d", "d.jsonl", filter="x", format="sharegpt", messages_field="mm", tools_field="tt", checks=["languages"]
    )
    admitted = make_admission(own, config)
    assert admitted.fields == Fields("mm", "tt", "sharegpt")
    assert (admitted.used_in_filter, admitted.checks) == ("x", ("languages",))


def test_more_candidates_are_for_the_datasets_that_are_named(config: MakeConfig) -> None:
    plan = replace(make_plan(config()), candidates=(5, None, 7))
    assert plan.with_more_candidates([0, 1]).candidates == (5 * MORE, None, 7)


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
