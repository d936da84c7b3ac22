"""Where a run writes, what it resumes from, and what identifies it on disk."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.training.checkpoints.made_up import write_checkpoint

from nemotron.errors import UserError
from nemotron.training.checkpoints import run_folder, run_lock
from nemotron.training.checkpoints.initial_weights import StartingPoint, find_start
from nemotron.training.checkpoints.newest import find_checkpoint
from nemotron.training.checkpoints.run_folder import find_run_folder, identify_run
from nemotron.training.checkpoints.run_lock import hold
from nemotron.training.checkpoints.run_record import find_saving_run, read_records
from nemotron.training.config import PeftConfig, RecipeConfig, RunConfig, SftConfig
from nemotron.training.prepared_data import PreparedData


def data(run_hash="a1"):
    return PreparedData("SFTDataArtifact-sft:v1", Path("/data"), {"train": 8}, run_hash=run_hash)


def config(output, **checkpoint):
    return SftConfig(run=RunConfig(output_dir=str(output)), recipe=RecipeConfig("tiny"), checkpoint=checkpoint)


def claim(settings, prepared):
    with hold(find_run_folder(settings, prepared, find_start(settings))):
        pass


def test_a_new_run_has_nothing_to_resume(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = find_run_folder(config("runs/mine"))
    assert run.output == tmp_path / "runs/mine"
    assert run.checkpoints == run.resume_from == tmp_path / "runs/mine/checkpoints"
    assert (run.finished, run.newest, run.record, run.is_own) == (0, None, {}, True)
    assert (run.saved, run.load_from, run.metrics, run.unreadable) == ({}, run.checkpoints, [], 0)


def test_the_tracker_file_says_how_far_a_run_came(tmp_path):
    before = find_run_folder(config(tmp_path))
    newest = write_checkpoint(tmp_path / "checkpoints", 40)
    after = find_run_folder(config(tmp_path))
    assert (after.finished, after.newest.folder) == (40, newest)
    assert (before.finished, before.count_finished()) == (0, 40)


def test_a_run_is_continued_elsewhere_until_it_has_a_checkpoint_of_its_own(tmp_path):
    write_checkpoint(tmp_path / "one/checkpoints", 20)
    settings = config(tmp_path / "two", load=f"{tmp_path}/one/checkpoints")
    run = find_run_folder(settings)
    assert (run.resume_from, run.finished, run.is_own) == (tmp_path / "one/checkpoints", 20, False)
    write_checkpoint(tmp_path / "two/checkpoints", 30)
    run = find_run_folder(settings)
    assert (run.resume_from, run.finished, run.is_own) == (tmp_path / "two/checkpoints", 30, True)


def test_a_folder_is_claimed_until_it_has_a_checkpoint(tmp_path):
    settings = config(tmp_path)
    for run_hash in ("a1", "b2"):
        claim(settings, data(run_hash))
        assert json.loads((tmp_path / "run.json").read_text())["data"] == run_hash
    write_checkpoint(tmp_path / "checkpoints", 40)
    claim(settings, data("c3"))
    assert find_run_folder(settings).record["data"] == "b2"


def test_a_run_is_identified_by_its_model_its_data_its_adapters_and_its_start(tmp_path):
    settings = config(tmp_path)
    settings.run.model, settings.recipe.random_start = "Mine", 7
    of_the_seed = StartingPoint(None, "random weights")
    assert identify_run(settings, replace(data(), pack_size=512), of_the_seed) == {
        "hf_model": "tiny",
        "data_from": "SFTDataArtifact-sft:v1, /data",
        "model": "tiny",
        "data": "a1",
        "pack_size": 512,
        "adapters": None,
        "start": 7,
        "start_named": "Mine",
    }
    settings.peft = PeftConfig(target_modules=["linear_qkv", "in_proj"], dim=8, alpha=16)
    of_a_folder = StartingPoint(tmp_path / "x/../model", "")
    record = identify_run(settings, data(run_hash=None), of_a_folder)
    assert record["adapters"] == "lora, dim 8, alpha 16, on in_proj linear_qkv"
    assert (record["data"], record["start"]) == ("SFTDataArtifact-sft:v1", f"{tmp_path}/model")
    (tmp_path / "config.json").write_text("{}")
    settings.recipe.hf_model = str(tmp_path)
    assert (
        identify_run(settings, data(), of_a_folder)["model"] == f"{tmp_path.name} (config 44136fa355b3)"
    )  # sha256 of {}
    not_here = StartingPoint(None, "", unresolved=UserError("Not here."))
    assert "start" not in identify_run(settings, data(), not_here)


@pytest.mark.parametrize(("saved", "record"), [(None, {"adapters": None}), ({"dim": 8}, {})])
def test_a_checkpoint_that_is_not_ours_says_at_least_whether_it_holds_adapters(tmp_path, saved, record):
    write_checkpoint(tmp_path / "checkpoints", 40, {"peft": saved})
    assert find_run_folder(config(tmp_path)).record == record


def test_a_checkpoint_without_a_readable_config_does_not_say_whether_it_holds_adapters(tmp_path):
    """One of Megatron-LM, whose settings are in common.pt."""
    folder = write_checkpoint(tmp_path / "checkpoints", 40)
    torch.save({"args": None}, folder / "common.pt")
    for name in ("run_config.yaml", "train_state.pt"):
        (folder / name).unlink()
    run = find_run_folder(config(tmp_path))
    assert (run.finished, run.record) == (40, {})


def test_checkpoints_elsewhere_know_their_run(tmp_path):
    settings = config(tmp_path / "one", save=str(tmp_path / "elsewhere/checkpoints"))
    claim(settings, data())
    newest = write_checkpoint(tmp_path / "elsewhere/checkpoints", 20)
    assert find_checkpoint(tmp_path / "one").folder == newest
    saved_by = find_saving_run(newest)
    assert saved_by.folder == tmp_path / "one"
    assert saved_by.hf_model == "tiny"
    other = config(tmp_path / "two", save=str(tmp_path / "elsewhere/checkpoints"))
    assert find_run_folder(other).record["data"] == "a1"


def test_a_run_that_was_started_again_writes_its_record_over_that_of_the_other(tmp_path):
    """Until there is a checkpoint, the folder belongs to whoever starts in it."""
    for name in ("tiny", "other"):
        settings = config(tmp_path)
        settings.recipe.hf_model = name
        claim(settings, data())
        records = [json.loads((tmp_path / place).read_text()) for place in ("run.json", "checkpoints/run.json")]
        assert [record["hf_model"] for record in records] == [name] * 2


@pytest.mark.parametrize("second", ["same output", "same checkpoint.save"])
def test_a_second_run_in_the_same_folder_is_refused_with_the_first(tmp_path, second):
    save = str(tmp_path / "saved")
    other = config(tmp_path / "one") if second == "same output" else config(tmp_path / "two", save=save)
    first = hold(find_run_folder(config(tmp_path / "one", save=save)))
    with first, pytest.raises(UserError, match=f"process {os.getpid()} on "), hold(find_run_folder(other)):
        pass
    with hold(find_run_folder(other)):
        pass


def test_a_run_may_save_its_checkpoints_in_its_own_folder(tmp_path):
    with hold(find_run_folder(config(tmp_path, save=str(tmp_path)))) as run:
        assert run.checkpoints == run.output == tmp_path


def test_a_run_that_went_on_while_this_one_started_is_not_written_over(tmp_path):
    before = find_run_folder(config(tmp_path))
    write_checkpoint(tmp_path / "checkpoints", 20)
    with pytest.raises(UserError), hold(before):
        pass


def test_an_empty_record_is_restored_from_its_copy(tmp_path):
    settings = config(tmp_path)
    claim(settings, data())
    write_checkpoint(tmp_path / "checkpoints", 20)
    for damaged in (tmp_path / "run.json", tmp_path / "checkpoints/run.json"):
        damaged.write_bytes(b"")
        assert find_run_folder(settings).record["data"] == "a1"
        claim(settings, data("b2"))
        assert json.loads(damaged.read_text())["data"] == "a1"


def test_another_iteration_is_loaded_as_itself(tmp_path):
    """Megatron is given the checkpoint, where the trackers may name another."""
    first = write_checkpoint(tmp_path / "checkpoints", 20)
    write_checkpoint(tmp_path / "checkpoints", 40)
    assert find_run_folder(config(tmp_path)).load_from == tmp_path / "checkpoints"
    run = find_run_folder(config(tmp_path, ckpt_step=20))
    assert (run.finished, run.newest.folder, run.load_from) == (20, first, first)
    run = find_run_folder(config(tmp_path / "two", load=str(first)))
    assert (run.finished, run.newest.folder, run.load_from) == (20, first, first)
    assert run.resume_from == tmp_path / "checkpoints"  # the folder around it


def test_records_of_a_file_that_is_not_there(tmp_path):
    assert read_records(tmp_path / "metrics.jsonl") == []


def test_a_last_line_that_is_still_being_written_is_left_out(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"iteration": 1}\n{"itera')
    assert read_records(tmp_path / "metrics.jsonl") == [{"iteration": 1}]


@pytest.mark.parametrize(("holder", "local", "lines"), [(None, "0", 0), ("process 7", "0", 1), ("process 7", "1", 0)])
def test_another_rank_waits_for_the_export_and_says_so_once_a_node_where_it_gives_up(
    tmp_path, monkeypatch, capsys, holder, local, lines
):
    waited = []
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("LOCAL_RANK", local)
    monkeypatch.setattr(run_lock, "wait_until_free", lambda *arguments: waited.append(arguments) or holder)
    run = find_run_folder(config(tmp_path))
    with hold(run, minutes=7) as held:
        assert held is run
        assert waited == []
    assert waited == [(tmp_path, 420)]
    said = capsys.readouterr().out.splitlines()
    assert len(said) == lines
    assert all("convert_to_hf.timeout_minutes=7" in line and "process 7" in line for line in said)
    assert not (tmp_path / "run.json").exists()


def test_a_run_that_saved_nothing_has_what_it_was_continued_from(tmp_path):
    """A run of no iterations, or one that was stopped before its first save."""
    newest = write_checkpoint(tmp_path / "one/checkpoints", 20, {"train": {"train_iters": 99}})
    run = find_run_folder(config(tmp_path / "two", load=f"{tmp_path}/one/checkpoints"))
    again = run.look_again()
    assert (again.folder, again.iteration, run.count_finished()) == (newest, 20, 20)
    assert again.checkpoint.saved["train"]["train_iters"] == 99
    own = write_checkpoint(tmp_path / "two/checkpoints", 30)
    assert (run.look_again().folder, run.count_finished()) == (own, 30)


def test_megatron_loads_a_folder_or_the_one_checkpoint_of_it_that_is_meant(tmp_path):
    write_checkpoint(tmp_path / "one/checkpoints", 20)
    newest = write_checkpoint(tmp_path / "one/checkpoints", 30)
    assert find_run_folder(config(tmp_path / "one")).load_from == tmp_path / "one/checkpoints"
    other = find_run_folder(config(tmp_path / "two", load=f"{tmp_path}/one/checkpoints"))
    assert other.load_from == newest
    step = find_run_folder(config(tmp_path / "one", ckpt_step=20))
    assert step.load_from == tmp_path / "one/checkpoints/iter_0000020"
    assert find_run_folder(config(tmp_path / "three")).load_from == tmp_path / "three/checkpoints"


def test_a_tracker_that_names_another_checkpoint_than_the_newest_is_repaired(tmp_path):
    """Megatron loads what its trackers name, also where nothing else is wrong."""
    write_checkpoint(tmp_path / "checkpoints", 20)
    write_checkpoint(tmp_path / "checkpoints", 30)
    tracker = tmp_path / "checkpoints/latest_checkpointed_iteration.txt"
    tracker.write_text("")
    run = find_run_folder(config(tmp_path))
    assert (run.finished, run.skipped) == (30, ())
    with hold(run):
        assert tracker.read_text() == "30"
    written = tracker.stat().st_ino
    with hold(find_run_folder(config(tmp_path))):
        assert tracker.stat().st_ino == written  # one that is right is left alone


def test_a_resumed_run_has_the_records_of_the_run_that_saved_its_checkpoint(tmp_path):
    mine, other = tmp_path / "mine", tmp_path / "other"
    for folder, iteration in ((mine, 7), (other, 40)):
        write_checkpoint(folder / "checkpoints", 40) if folder == other else folder.mkdir()
        (folder / "metrics.jsonl").write_text(f'{{"iteration": {iteration}}}\nnot a record\n')
        (folder / "test.jsonl").write_text(f'{{"iteration": {iteration}}}\n')
    (other / "run.json").write_text(json.dumps({"checkpoints": str(other / "checkpoints"), "model": "tiny"}))
    new = find_run_folder(config(mine))
    assert (new.metrics, new.unreadable, new.tested) == ([], 0, {7})
    elsewhere = find_run_folder(config(mine, load=str(other / "checkpoints")))
    assert ([record["iteration"] for record in elsewhere.metrics], elsewhere.unreadable) == ([40], 1)
    assert elsewhere.tested == {7}  # what this run has evaluated itself
    assert elsewhere.saved == elsewhere.newest.saved != {}
    own = find_run_folder(config(other))
    assert ([record["iteration"] for record in own.metrics], own.tested) == ([40], {40})


def test_a_run_knows_who_holds_its_folders_and_what_its_adapters_lost(tmp_path, monkeypatch):
    saved_with = {"peft": {"dim": 8}, "checkpoint": {"pretrained_checkpoint": str(tmp_path / "gone")}}
    write_checkpoint(tmp_path / "checkpoints", 40, saved_with)
    assert find_run_folder(config(tmp_path)).holder is None
    for held in (tmp_path, tmp_path / "checkpoints"):
        monkeypatch.setattr(run_folder, "find_holder", lambda folder, held=held: "holder" if folder == held else None)
        run = find_run_folder(config(tmp_path))
        assert run.holder == "holder"
        assert run.base is None
        assert str(tmp_path / "gone") in str(run.lost_base)


def test_without_the_data_or_the_start_a_run_is_not_identified(tmp_path):
    start = find_start(config(tmp_path))
    assert find_run_folder(config(tmp_path), data(), None).identity == {}
    assert find_run_folder(config(tmp_path), None, start).identity == {}
    assert find_run_folder(config(tmp_path), data(), start).identity != {}


def test_what_was_passed_over_is_set_aside_once_a_run_is_held(tmp_path):
    whole = write_checkpoint(tmp_path / "checkpoints", 20)
    damaged = write_checkpoint(tmp_path / "checkpoints", 40)
    (damaged / "train_state.pt").write_bytes(b"")
    (tmp_path / "checkpoints" / "latest_train_state.pt").unlink()
    (tmp_path / "checkpoints" / "latest_train_state.pt").mkdir()  # in the place of a name that a save writes
    run = find_run_folder(config(tmp_path), data(), find_start(config(tmp_path)))
    assert [each.folder for each in run.skipped] == [damaged]
    with hold(run) as held:
        assert (held.skipped, held.own.skipped, held.newest.folder) == ((), (), whole)
        assert (tmp_path / "checkpoints" / "latest_train_state.pt").is_file()
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["checkpoints"] == str(tmp_path / "checkpoints")
