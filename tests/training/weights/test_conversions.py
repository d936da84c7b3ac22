"""The steps of making, importing and exporting weights, with stand-ins for Megatron; no weight is converted."""

import contextlib
import json
import logging
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.stand_ins import put_modules
from tests.training.checkpoints.made_up import write_checkpoint

from nemotron.errors import Problem, UserError
from nemotron.training import bridge, cpu, torch_layers
from nemotron.training.checkpoints.checkpoint import Checkpoint
from nemotron.training.checkpoints.newest import find_checkpoint
from nemotron.training.weights import export_adapter, export_hf, export_process, import_hf, megatron_model, random_init

FLOAT32 = "float32"


class Provider:
    """A model provider: notes how it is set when it makes a model, and in which state that happens."""

    def __init__(self, world):
        self._world, self.params_dtype, self.use_cpu_initialization = world, FLOAT32, False

    def finalize(self):
        self._world.steps.append("finalized")

    def provide_distributed_model(self, **options):
        assert options == {"wrap_with_ddp": False, "use_cpu_initialization": True}
        assert self.use_cpu_initialization
        self._world.steps.append(("made", [*self._world.open]))
        return "the model"


class World:
    """`steps` has what happened, `open` what is in force."""

    def __init__(self, monkeypatch):
        self.steps, self.open = [], []
        self.provider = Provider(self)
        self.line = SimpleNamespace(
            NAME="0.6",
            check_loadable=lambda folder: self.steps.append(("loadable", folder)),
            load_adapters=lambda *arguments: self.steps.append(("adapters", *arguments)),
        )
        monkeypatch.setattr(bridge, "installed", lambda: self.line)
        monkeypatch.setattr(cpu, "backend", lambda: self.within("cpu"))
        monkeypatch.setattr(torch_layers, "use_torch_layers", self.step("torch layers"))
        monkeypatch.setattr(torch_layers, "provider_fields", lambda: "fields of torch layers")
        ours = {
            "hf_provider": self.provide,
            "single_process_group": lambda seed=0: self.within(("group", seed)),
            "save_model": self.save,
        }
        for name, value in {**ours, "use_float32": self.step("float32")}.items():
            monkeypatch.setattr(megatron_model, name, value)
        put_modules(
            monkeypatch,
            {
                "nemotron.training.weights.megatron_model": ours,
                "nemotron.training.bridge.provider": {
                    "use_float32": self.step("float32"),
                    "leave_out_mtp": self.step("without MTP"),
                },
                "torch": {"float32": FLOAT32},
                "megatron.bridge.training.model_load_save": {"load_megatron_model": self.load},
                "megatron.bridge.utils.instantiate_utils": {"instantiate": self.instantiate},
            },
        )

    def step(self, name):
        return lambda provider: self.steps.append(name)

    @contextlib.contextmanager
    def within(self, name):
        self.open.append(name)
        yield
        self.open.remove(name)

    def provide(self, folder, load_weights=False):
        self.steps.append(("provider", folder, load_weights))
        return self.provider

    def save(self, model, folder):
        assert model == "the model"
        (folder / "saved").touch()
        self.steps.append(("saved", [*self.open]))

    def load(self, folder, **options):
        assert options == {
            "use_cpu_init": True, "skip_temp_dist_context": True, "mp_overrides": "fields of torch layers",
        }  # fmt: skip
        self.steps.append(("loaded", folder))
        return ["chunk"]

    def instantiate(self, settings):
        return Adapters(self.steps, settings)


class Adapters:
    """Settings of adapters, which Megatron-Bridge calls to add them to a model."""

    def __init__(self, steps, settings):
        self.steps, self.settings = steps, settings

    def __call__(self, model, training):
        self.steps.append(("adapted", model, training))
        return ["adapted chunk"]

    def set_params_to_save(self, model):
        self.steps.append(("saves", model))


@pytest.fixture
def world(monkeypatch):
    made = World(monkeypatch)
    monkeypatch.setattr(export_process, "verify_parts", lambda: made.steps.append("parts are verified"))
    return made


INSIDE = ["cpu", ("group", 0)]
ITER = Checkpoint(Path("iter"), {"peft": {"dim": 4}})


@pytest.mark.parametrize("mtp", [True, False])
@pytest.mark.parametrize("dtype", ["bfloat16", FLOAT32])
def test_an_import_keeps_the_type_of_the_weights(world, tmp_path, mtp, dtype):
    world.provider.params_dtype = dtype
    import_hf.convert(Path("hf"), tmp_path / "out", mtp=mtp)
    assert world.steps == [
        ("provider", Path("hf"), True),
        "torch layers",
        *(["float32"] if dtype == FLOAT32 else []),
        *([] if mtp else ["without MTP"]),
        "finalized",
        ("made", INSIDE),
        ("saved", INSIDE),
    ]
    assert (tmp_path / "out/saved").is_file()
    assert world.open == []


def test_an_import_that_lacks_weights_leaves_no_checkpoint(world, tmp_path, monkeypatch):
    def make(**options):
        logging.getLogger("megatron.bridge.models.conversion.model_bridge").warning("Can't find w.1 in hf_keys")

    monkeypatch.setattr(world.provider, "provide_distributed_model", make)
    with pytest.raises(UserError, match=r"hf has no weights w\.1"):
        import_hf.convert(Path("hf"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_of_two_imports_to_one_folder_the_second_overwrites_nothing(world, tmp_path):
    """Both found it empty when they began; the second waits for the first."""
    import_hf.convert(Path("hf"), tmp_path / "out")
    (tmp_path / "out/mine").touch()
    with pytest.raises(UserError, match="out is not empty"):
        import_hf.convert(Path("hf"), tmp_path / "out")
    assert (tmp_path / "out/mine").is_file()


@pytest.mark.parametrize(("more", "mtp"), [([], True), (["--no-mtp"], False)])
def test_the_process_of_an_import_has_its_arguments(monkeypatch, more, mtp):
    calls = []
    monkeypatch.setattr(import_hf, "convert", lambda *arguments, **options: calls.append((*arguments, options)))
    monkeypatch.setattr(sys, "argv", ["import_hf", "hf", "out", *more])
    import_hf.main()
    assert calls == [(Path("hf"), Path("out"), {"mtp": mtp})]


def test_the_process_of_an_import_says_a_users_mistake_in_a_sentence(monkeypatch):
    def fail(*_, **__):
        raise UserError("No weights.", "Download them.")

    monkeypatch.setattr(import_hf, "convert", fail)
    monkeypatch.setattr(sys, "argv", ["import_hf", "hf", "out"])
    with pytest.raises(SystemExit, match="No weights"):
        import_hf.main()


@pytest.fixture
def importing(monkeypatch, tmp_path):
    """Imports a folder of a model: `importing(mtp=False)`; gives what is checked and what is run."""
    source = tmp_path / "hf"
    source.mkdir()
    (source / "config.json").write_text('{"num_nextn_predict_layers": 1}')
    (source / "model.safetensors").write_bytes(b"12345")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(import_hf, "check_weights", lambda folder, **options: calls.append((folder, options)) or [])
    monkeypatch.setattr(import_hf, "run_module", lambda *arguments: calls.append(arguments))
    calls = []

    def run(**options):
        calls.clear()
        assert import_hf.import_hf("hf", "out", **options) == Path("out")
        (folder, checked), (module, arguments, what, into, needs) = calls
        assert (folder, what, into, needs) == (Path("hf"), "Importing hf", Path("out"), 5)
        assert module == import_hf.__name__
        assert arguments[:2] == [str(source), str(tmp_path / "out")]
        return checked["mtp"], arguments[2:]

    return run


@pytest.mark.parametrize(
    ("config", "mtp", "checked", "more"),
    [
        ('{"num_nextn_predict_layers": 1}', True, True, []),
        ('{"num_nextn_predict_layers": 0}', True, False, []),
        ("{}", True, False, []),
        ('{"num_nextn_predict_layers": 1}', False, False, ["--no-mtp"]),
    ],
)
def test_weights_of_mtp_are_needed_where_the_model_has_it_and_somebody_wants_it(
    importing, tmp_path, config, mtp, checked, more
):
    (tmp_path / "hf/config.json").write_text(config)
    assert importing(mtp=mtp) == (checked, more)


def test_a_model_needs_a_config_and_weights(importing, tmp_path):
    assert importing() == (True, [])
    for name in ("model.safetensors", "config.json"):
        (tmp_path / "hf" / name).rename(tmp_path / name)
        with pytest.raises(UserError, match=r"hf is not a Hugging Face model"):
            importing()
        (tmp_path / name).rename(tmp_path / "hf" / name)


def test_an_import_overwrites_nothing(importing, tmp_path):
    (tmp_path / "out").mkdir()
    importing()  # an empty folder
    (tmp_path / "out/mine").touch()
    with pytest.raises(UserError, match="out is not empty"):
        importing()
    (tmp_path / "out/mine").rename(tmp_path / "mine")
    (tmp_path / "out").rmdir()
    (tmp_path / "out").touch()
    with pytest.raises(UserError, match="out is not empty"):
        importing()


@pytest.fixture
def architecture(tmp_path):
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf/config.json").write_text("{}")
    return tmp_path / "hf"


def test_random_weights_are_float32_of_a_seed(world, architecture, tmp_path, monkeypatch):
    monkeypatch.setattr(cpu, "is_needed", lambda: True)
    folder = random_init.make_starting_checkpoint(architecture, tmp_path / "start", 7)
    inside = [("group", 7)]
    assert world.steps == [
        *(("provider", architecture, False), "torch layers", "float32", "finalized"),
        *(("made", inside), ("saved", inside)),
    ]
    assert (folder / "saved").is_file()
    assert folder == random_init.start_folder(architecture, tmp_path / "start", 7)
    random_init.make_starting_checkpoint(architecture, tmp_path / "start", 7)
    assert len(world.steps) == 6  # made once


def test_damaged_weights_are_made_again(world, architecture, tmp_path, monkeypatch):
    """They follow from the seed, so nobody needs to get them back."""
    monkeypatch.setattr(cpu, "is_needed", lambda: True)
    damaged = random_init.start_folder(architecture, tmp_path / "start", 7)
    damaged.mkdir(parents=True)
    for skipped, made in (((), 0), (("its shard is damaged",), 1)):
        monkeypatch.setattr(random_init, "find_newest", lambda _, found=skipped: SimpleNamespace(skipped=found))
        random_init.make_starting_checkpoint(architecture, tmp_path / "start", 7)
        assert sum(step[0] == "saved" for step in world.steps) == made


def test_with_a_gpu_another_process_makes_them(world, architecture, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(cpu, "is_needed", lambda: False)
    monkeypatch.setattr(random_init, "run_module", lambda *arguments: calls.append(arguments))
    random_init.make_starting_checkpoint(architecture, tmp_path / "start", 7)
    [(module, (config, out, seed), *_)] = calls
    assert (module, config, seed) == (random_init.__name__, str(architecture), "7")
    assert Path(out).parent == tmp_path / "start"
    monkeypatch.setattr(sys, "argv", ["random_init", config, str(tmp_path), seed])
    random_init.main()
    assert world.steps[-1] == ("saved", ["cpu", ("group", 7)])


def test_a_change_of_model_seed_or_release_is_another_start(world, architecture, tmp_path):
    def folder(seed=1):
        return random_init.start_folder(architecture, tmp_path, seed)

    folders = {folder(), folder(seed=2)}
    world.line.NAME = "0.4"
    folders.add(folder())
    (architecture / "config.json").write_text('{"hidden_size": 1}')
    folders.add(folder())
    assert len(folders) == 4
    assert {path.parent for path in folders} == {tmp_path}
    assert all(len(path.name) == len("start-") + 12 for path in folders)
    assert folder() in folders


def test_of_two_processes_one_makes_them(world, architecture, tmp_path, monkeypatch):
    """The other finds them when it gets the lock."""

    @contextlib.contextmanager
    def after_another(lock):
        lock.with_suffix("").mkdir(parents=True)
        yield

    monkeypatch.setattr(random_init, "one_at_a_time", after_another)
    assert random_init.make_starting_checkpoint(architecture, tmp_path / "start", 7).is_dir()
    assert world.steps == []


def test_an_export_is_made_in_a_process_of_its_own(tmp_path, monkeypatch):
    calls = []
    iteration = write_checkpoint(tmp_path / "run", 3)
    monkeypatch.setattr(export_process, "run_module", lambda *arguments: calls.append(arguments))
    monkeypatch.chdir(tmp_path)
    folder = export_hf.export_hf(find_checkpoint(tmp_path / "run"), "hf", "model", "tokenizer")
    assert folder == tmp_path / "hf"
    what = f"Exporting {iteration} to Hugging Face format"
    assert calls == [(export_hf.__name__, [str(iteration), str(folder), "model", "tokenizer"], what, folder, 0)]


@pytest.mark.parametrize("module", [export_hf, export_adapter])
def test_the_process_of_an_export_has_its_arguments(tmp_path, monkeypatch, module):
    calls, iteration = [], write_checkpoint(tmp_path / "run", 3)
    monkeypatch.setattr(module, "convert", lambda *arguments: calls.append(arguments))
    monkeypatch.setattr(sys, "argv", ["export", str(tmp_path / "run"), "out", "model", "tokenizer"])
    module.main()
    assert calls == [(Checkpoint(iteration), Path("out"), "model", "tokenizer")]


def test_what_loading_would_run_is_refused_before_an_export(tmp_path, monkeypatch):
    write_checkpoint(tmp_path / "run", 3)
    monkeypatch.setattr(export_process, "find_code_to_load", lambda *_: [Problem("It runs code.", "Do not.")])
    with pytest.raises(UserError, match="It runs code"):
        export_hf.export_hf(find_checkpoint(tmp_path / "run"), tmp_path / "hf", "model", "tokenizer")


def test_the_model_of_an_export_is_loaded_with_torch_layers_on_the_cpu(world, tmp_path, monkeypatch):
    monkeypatch.setattr(export_process, "load_whole_model", lambda found: [*world.open, found])
    with export_process.load_for_export(ITER, tmp_path / "out") as (model, unfinished):
        assert model == [*INSIDE, ITER]
        assert unfinished != tmp_path / "out"
        (unfinished / "weights").touch()
    assert (tmp_path / "out/weights").is_file()
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["out"]


@pytest.fixture
def saved(monkeypatch):
    """The base model of a checkpoint, set by the test: `saved.append(base)`."""
    bases = []
    monkeypatch.setattr(export_process, "base_model_of", lambda found: bases[0] if bases else None)
    return bases


def test_a_whole_model_is_loaded(world, saved):
    assert export_process.load_whole_model(ITER) == ["chunk"]
    assert world.steps == [("loadable", Path("iter")), "parts are verified", ("loaded", "iter")]


def test_adapters_are_loaded_onto_their_base_model(world, saved):
    saved.append(Checkpoint(Path("base"), {}))
    assert export_process.load_whole_model(ITER) == ["adapted chunk"]
    *before, (name, model, folder, peft) = world.steps
    assert before == [
        ("loadable", Path("base")),
        "parts are verified",
        ("loaded", "base"),
        ("adapted", ["chunk"], False),
        ("saves", ["adapted chunk"]),
    ]
    assert (name, model, folder, peft.settings) == ("adapters", ["adapted chunk"], Path("iter"), {"dim": 4})


def test_an_export_of_a_model_has_its_card_without_secrets(tmp_path, monkeypatch):
    steps = []

    @contextlib.contextmanager
    def load(folder, out):
        steps.append((folder, out))
        yield "the model", tmp_path

    monkeypatch.setattr(export_hf, "load_for_export", load)
    monkeypatch.setattr(export_hf, "save_hf_folder", lambda *arguments: steps.append(arguments))
    monkeypatch.setattr(export_hf, "model_card", lambda found, model: f"{found.folder} of {model} hf_{'a' * 34}")
    export_hf.convert(ITER, Path("out"), "model", "tokenizer")
    assert steps == [(ITER, Path("out")), ("the model", tmp_path, "model", "tokenizer")]
    assert (tmp_path / "README.md").read_text() == "iter of model ***"


class Adapted:
    """A model of three modules: one of MTP with an adapter, a merged one, and one without an adapter."""

    def __init__(self):
        import torch

        ones = torch.ones
        lora = SimpleNamespace(
            alpha=6,
            dim=2,
            linear_in=SimpleNamespace(weight=2 * ones(2, 3)),
            linear_out=SimpleNamespace(weight=ones(4, 2) / 2),
        )
        self.mixer = SimpleNamespace(to_wrap=SimpleNamespace(weight=ones(4, 3, dtype=torch.bfloat16)), adapter=lora)
        self.head = SimpleNamespace(fc=SimpleNamespace(to_wrap="the layer itself", adapter=lora))
        self.modules = {
            "decoder.layers.0.mixer.out_proj": self.mixer,
            "decoder.layers.0.mixer.in_proj": self.mixer,
            "decoder.layers.1.mixer.out_proj": SimpleNamespace(weight=1),
            "mtp.layers.0.mixer.out_proj": self.mixer,
            "mtp.layers.0.fc": self.head.fc,
            "mtp.layers.0": SimpleNamespace(),
        }

    def named_modules(self):
        yield from self.modules.items()

    def get_submodule(self, name):
        assert name in ("mtp.layers.0", "mtp.layers.0.mixer")
        return self.head


def test_adapters_of_mtp_are_taken_off():
    model = Adapted()
    export_adapter._take_off_mtp([model])
    assert model.head.fc == "the layer itself"
    assert model.head.out_proj is model.mixer.to_wrap


def test_what_peft_does_not_apply_is_merged():
    """W + alpha/dim B A: 1 + 6/2 x (0.5x2 + 0.5x2)."""
    merged = export_adapter._merge_whole([Adapted()])
    assert list(merged) == ["model.layers.0.mixer.out_proj"]
    [weight] = merged.values()
    assert str(weight.dtype) == "torch.bfloat16"
    assert weight.tolist() == [[7] * 3] * 4


@pytest.mark.parametrize(("targets", "by_layer"), [(["in_proj"], False), (["linear", "*.layers.0.*.in_proj"], True)])
def test_adapters_are_saved_as_peft_reads_them(tmp_path, monkeypatch, targets, by_layer):
    calls, files = [], {}
    settings = {"target_modules": targets}

    def save_hf_adapter(model, folder, peft, **options):
        calls.append(("saved", model, peft, options))
        (folder / "adapter_config.json").write_text('{"r": 4}')

    def save_file(weights, path, metadata):
        files[path.name] = (weights, metadata)
        path.touch(mode=0o600)

    # Code of the folder is never run.
    configs = {("base", False): SimpleNamespace(save_hf_adapter=save_hf_adapter)}
    auto = SimpleNamespace(from_hf_config=lambda config: configs[config])
    adapter_config = lambda written, adapters, merged, by_layer: {**written, "by": [adapters, merged, by_layer]}  # noqa: E731
    put_modules(
        monkeypatch,
        {
            "megatron.bridge": {"AutoBridge": auto},
            "megatron.bridge.utils.instantiate_utils": {"instantiate": lambda peft: ("instance", peft)},
            "safetensors.torch": {"load_file": lambda path: path.name, "save_file": save_file},
            "transformers": {
                "AutoConfig": SimpleNamespace(from_pretrained=lambda *a, trust_remote_code: (*a, trust_remote_code))
            },
            "nemotron.training.weights.peft_folder": {"adapter_config": adapter_config, "for_peft": lambda *a: a},
        },
    )
    monkeypatch.setattr(export_adapter, "_take_off_mtp", lambda model: calls.append(("without MTP", model)))
    monkeypatch.setattr(export_adapter, "_merge_whole", lambda model: "merged")
    export_adapter._save(["chunk"], tmp_path, Checkpoint(Path("iter"), {"peft": settings}), "base")
    saved = {"base_model_name_or_path": "base", "show_progress": False}
    assert calls == [("without MTP", ["chunk"]), ("saved", ["chunk"], ("instance", settings), saved)]
    weights = "adapter_model.safetensors"
    assert json.loads((tmp_path / "adapter_config.json").read_text()) == {"r": 4, "by": [weights, "merged", by_layer]}
    assert files == {weights: ((weights, "merged"), {"format": "pt"})}
    assert (tmp_path / weights).stat().st_mode == (tmp_path / "adapter_config.json").stat().st_mode


def test_an_export_of_adapters_has_its_tokenizer_and_its_card_without_secrets(tmp_path, monkeypatch):
    steps = []

    @contextlib.contextmanager
    def load(folder, out):
        steps.append((folder, out))
        yield "the model", tmp_path

    monkeypatch.setattr(export_adapter, "load_for_export", load)
    monkeypatch.setattr(export_adapter, "_save", lambda *arguments: steps.append(arguments))
    monkeypatch.setattr(export_adapter, "write_tokenizer", lambda *arguments: steps.append(arguments))
    card = lambda found, model, adapter: f"{found.folder} {model} {adapter} hf_{'a' * 34}"  # noqa: E731
    monkeypatch.setattr(export_adapter, "model_card", card)
    export_adapter.convert(ITER, Path("out"), "base", "tokenizer")
    assert steps == [
        (ITER, Path("out")),
        ("the model", tmp_path, ITER, "base"),
        (tmp_path, "tokenizer"),
    ]
    assert (tmp_path / "README.md").read_text() == "iter base True ***"


@pytest.mark.parametrize("base", ["org/model", "models/base", "./base"])
def test_an_export_of_adapters_names_its_base_model(tmp_path, monkeypatch, base):
    """A folder by its whole path, whoever reads it from wherever."""
    iteration, calls = write_checkpoint(tmp_path / "run", 3), []
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models/base").mkdir(parents=True)
    monkeypatch.setattr(export_adapter, "check_adapters_of", lambda found: calls.append(found.folder))
    monkeypatch.setattr(export_process, "run_module", lambda module, arguments, *_: calls.append((module, *arguments)))
    assert export_adapter.export_adapter(find_checkpoint(Path("run")), "out", base, "tokenizer") == tmp_path / "out"
    named = base if base == "org/model" else str(tmp_path / base)
    out = str(tmp_path / "out")
    assert calls == [Path("run/iter_0000003"), (export_adapter.__name__, "run/iter_0000003", out, named, "tokenizer")]
    assert iteration.is_dir()
