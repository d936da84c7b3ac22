"""What a dry run compares, with stand-ins for building a recipe."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.stand_ins import put_modules

from nemotron.errors import UserError
from nemotron.training.config import RecipeConfig, SftConfig
from nemotron.training.recipe import preview


class Comparison:
    """Compares a run; `seen` has what the recipe was built from, and with how many ranks."""

    def __init__(self, monkeypatch, tmp_path):
        self.seen, self.container = {}, SimpleNamespace(checkpoint=SimpleNamespace(pretrained_checkpoint="recipe"))
        self._folder = tmp_path
        monkeypatch.setattr(preview, "find_spec", lambda name: name)
        monkeypatch.setattr(preview, "missing_packages", lambda: ["mamba_ssm"])
        monkeypatch.setattr(preview, "importable", self._importable)
        monkeypatch.setattr(preview, "adapt", lambda container, backend: self.seen.update(adapted=backend))
        monkeypatch.setattr(preview, "fewest_ranks", lambda config: 12)
        put_modules(
            monkeypatch,
            {
                "nemotron.training.recipe.build": {"build_recipe": self._build},
                "nemotron.training.weights.random_init": {
                    "start_folder": lambda *arguments: Path("made", *map(str, arguments))
                },
            },
        )

    def _importable(self, backend):
        self.seen["imported with"] = backend
        return preview._silence()

    def _build(self, config, plan, data, run, origins, pretrained):
        print("a warning of Megatron")
        print("another one", file=sys.stderr)
        self.seen |= {"ranks": os.environ["WORLD_SIZE"], "pretrained": pretrained, "origins": origins, "data": data}
        return SimpleNamespace(container=self.container, changes=lambda: ["a change"])

    def __call__(self, start=None, random_start=None, ranks=None, backend=None):
        config = SftConfig(recipe=RecipeConfig(hf_model="model", random_start=random_start))
        plan = SimpleNamespace(start=SimpleNamespace(checkpoint=start))
        run = SimpleNamespace(output=self._folder / "output/run")
        loaded = SimpleNamespace(config=config, origins={"a": "b"})
        assert preview.recipe_changes(loaded, plan, "data", run, ranks, backend) == ["a change"]
        return self.seen | {"starts from": self.container.checkpoint.pretrained_checkpoint}


@pytest.fixture
def compare(monkeypatch, tmp_path):
    monkeypatch.setattr("nemotron.training.cpu.is_needed", lambda: False)
    return Comparison(monkeypatch, tmp_path)


@pytest.mark.parametrize(("ranks", "expected"), [(None, "12"), (4, "4")])
@pytest.mark.parametrize("before", ["3", None])
def test_it_counts_with_the_ranks_of_the_run(compare, monkeypatch, capsys, ranks, expected, before):
    monkeypatch.setenv("WORLD_SIZE", "removed when the test ends")
    if before is None:
        monkeypatch.delenv("WORLD_SIZE")
    else:
        monkeypatch.setenv("WORLD_SIZE", before)
    seen = compare(ranks=ranks)
    assert (seen["ranks"], seen["origins"], seen["data"]) == (expected, {"a": "b"}, "data")
    assert os.environ.get("WORLD_SIZE") == before
    assert "".join(capsys.readouterr()) == ""  # hundreds of warnings are thrown away


def test_a_run_that_starts_from_a_checkpoint_says_so(compare, tmp_path):
    seen = compare(start=tmp_path)
    assert (seen["pretrained"], seen["starts from"]) == (tmp_path, str(tmp_path))
    elsewhere = compare(start=tmp_path / "only on the cluster")
    assert (elsewhere["pretrained"], elsewhere["starts from"]) == (None, str(tmp_path / "only on the cluster"))


def test_random_weights_are_named_before_they_are_made(compare, tmp_path):
    seen = compare(random_start=0)
    assert seen["starts from"] == str(Path("made", "model") / (tmp_path / "output/start") / "0")
    assert compare(start=tmp_path, random_start=0)["starts from"] == str(tmp_path)
    assert compare()["starts from"] is None


@pytest.mark.parametrize(
    ("backend", "on_cpu", "imported"),
    [
        (None, True, "cpu"),
        (None, False, "torch"),
        ("production", False, "torch"),
        ("torch", True, "cpu"),
        ("cpu", False, "cpu"),
    ],
)
def test_megatron_is_imported_with_what_this_machine_has(compare, monkeypatch, backend, on_cpu, imported):
    monkeypatch.setattr("nemotron.training.cpu.is_needed", lambda: on_cpu)
    seen = compare(backend=backend)
    assert seen["imported with"] == imported
    assert seen.get("adapted") == backend  # another machine's packages are not known


def test_the_production_stack_is_imported_where_it_is_installed(compare, monkeypatch):
    monkeypatch.setattr(preview, "missing_packages", list)
    assert compare()["imported with"] == "production"


@pytest.mark.parametrize("missing", ["megatron", "megatron.bridge"])
def test_without_megatron_bridge_there_is_nothing_to_compare_with(compare, monkeypatch, missing):
    monkeypatch.setattr(preview, "find_spec", lambda name: None if name == missing else name)
    with pytest.raises(UserError, match="Megatron-Bridge"):
        compare()
