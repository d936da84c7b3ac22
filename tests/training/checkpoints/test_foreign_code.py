"""A checkpoint is loaded only when its files hold data: nothing in them may have torch or Megatron call something."""

import io
import os
import pickle
import subprocess
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from tests.training.checkpoints.made_up import write_checkpoint

from nemotron.training.checkpoints import foreign_code
from nemotron.training.checkpoints.checkpoint import read_checkpoint
from nemotron.training.checkpoints.foreign_code import TRUST, find_code_to_load, find_foreign_code
from nemotron.training.checkpoints.run_folder import find_run_folder
from nemotron.training.config import RunConfig, SftConfig


class Planted:
    """Leaves a file when somebody unpickles it."""

    def __init__(self, trace, call=os.mkdir):
        self.trace, self.call = trace, call

    def __reduce__(self):
        return self.call, (str(self.trace),)


@pytest.fixture
def trace(tmp_path):
    return tmp_path / "was-here"


@pytest.fixture
def saved(tmp_path):
    """A checkpoint that torch itself wrote: tensors, and objects of the kinds that Megatron-Bridge keeps."""
    folder = write_checkpoint(tmp_path / "run", 4)
    write(folder, {"weight": torch.zeros(4), "rng": {"numpy": np.random.RandomState(1).get_state(), "step": 3}})
    return folder


def write(folder, state):
    from torch.distributed.checkpoint import FileSystemWriter, save

    save(state, storage_writer=FileSystemWriter(folder, overwrite=True), no_dist=True)


def archive_of(thing):
    content = io.BytesIO()
    torch.save(thing, content)
    return content.getvalue()


def test_what_torch_writes_is_data(saved):
    torch.save({"args": None, "seed": torch.tensor(1), "dtype": torch.bfloat16}, saved / "common.pt")
    assert find_foreign_code(read_checkpoint(saved)) is None
    assert list(find_code_to_load(read_checkpoint(saved))) == []


def test_of_a_large_checkpoint_only_objects_are_read(saved):
    """Torch reads tensors as weights only."""
    write(saved, {"weight": torch.zeros(4), "more": torch.zeros(2)})
    assert foreign_code._object_parts(saved, (saved / ".metadata").read_bytes()) == {}
    write(saved, {"weight": torch.zeros(4), "step": SimpleNamespace(at=3)})
    [[part]] = foreign_code._object_parts(saved, (saved / ".metadata").read_bytes()).values()
    assert part[1] > 0


def test_numbers_that_begin_like_a_pickle_are_numbers(saved):
    torch.save({"bytes": torch.tensor([0x80, ord("X")], dtype=torch.uint8)}, saved / "common.pt")
    assert find_foreign_code(read_checkpoint(saved)) is None


def test_an_object_in_a_shard_would_run_in_torch_and_is_refused_here(saved, trace):
    from torch.distributed.checkpoint import load

    write(saved, {"weight": torch.zeros(4), "state": Planted(trace)})
    target = {"weight": torch.zeros(4), "state": None}
    load(target, checkpoint_id=saved, no_dist=True)
    assert trace.is_dir(), "torch no longer runs it: this check can go"
    trace.rmdir()
    found = find_foreign_code(read_checkpoint(saved))
    assert found is not None
    assert (found.file.suffix, found.name) == (".distcp", "posix.mkdir")
    [problem] = find_code_to_load(read_checkpoint(saved))
    assert str(found.file) in problem.message
    assert not trace.exists()


def test_the_index_is_a_pickle_too(saved, trace):
    (saved / ".metadata").write_bytes(pickle.dumps(Planted(trace)))
    found = find_foreign_code(read_checkpoint(saved))
    assert found is not None
    assert (found.file.name, found.name) == (".metadata", "posix.mkdir")
    assert not trace.exists()


@pytest.mark.parametrize(
    "name", ["common.pt", "modelopt_state/common.pt", "pytorch_model.bin", "x.pth", "x.pkl", "x.ckpt"]
)
def test_any_file_of_torch_is_looked_into(saved, trace, name):
    (saved / name).parent.mkdir(exist_ok=True)
    torch.save({"step": torch.tensor(4), "more": Planted(trace)}, saved / name)
    found = find_foreign_code(read_checkpoint(saved))
    assert found is not None
    assert (found.file, found.name) == (saved / name, "posix.mkdir")
    assert not trace.exists()


@pytest.mark.parametrize("call", [os.system, subprocess.check_call, eval, getattr, exec])
def test_whatever_is_called_is_named(saved, trace, call):
    torch.save(Planted(trace, call), saved / "common.pt")
    found = find_foreign_code(read_checkpoint(saved))
    assert found is not None
    assert found.name.endswith(call.__name__)


def torch_os_system():
    """Name os.system as an attribute of torch, which protocol 4 allows."""
    return b"\x80\x04\x8c\x05torch\x8c\x09os.system\x93\x8c\x04true\x85R."


def data_by_a_path():
    """Name a function of torch._utils, which is data, as an attribute of torch: only whole names are compared."""
    return b"\x80\x04\x8c\x05torch\x8c\x19_utils._rebuild_tensor_v2\x93."


def after_a_set():
    """Call os.system after something that a reader of stand-ins could stumble over."""
    return b"\x80\x04cbuiltins\nset\n)R(K\x01\x90cos\nsystem\n\x8c\x04true\x85R."


@pytest.mark.parametrize(
    "pickled", [torch_os_system(), data_by_a_path(), after_a_set(), b"\x80\x04cos\nsystem\n", b"no pickle"]
)
def test_no_pickle_gets_past_by_being_odd(saved, pickled):
    (saved / ".metadata").write_bytes(pickled)
    assert find_foreign_code(read_checkpoint(saved)) is not None


def test_a_pickle_in_the_bytes_of_a_tensor_counts(saved, trace):
    """Transformer Engine keeps the state of its layers so, and unpickles it."""
    hidden = torch.frombuffer(bytearray(pickle.dumps(Planted(trace))), dtype=torch.uint8)
    write(saved, {"weight": torch.zeros(4), "_extra_state": SimpleNamespace(state=hidden)})
    found = find_foreign_code(read_checkpoint(saved))
    assert found is not None
    assert found.name == "posix.mkdir"


def test_a_pickle_of_bytes_that_torch_would_load_counts(saved, trace):
    class Nested:
        def __reduce__(self):
            return torch.storage._load_from_bytes, (archive_of(Planted(trace)),)

    write(saved, {"weight": torch.zeros(4), "state": Nested()})
    found = find_foreign_code(read_checkpoint(saved))
    assert found is not None
    assert found.name == "posix.mkdir"


def old_format(thing, file):
    torch.save(thing, file, _use_new_zipfile_serialization=False)


def program(thing, file):
    torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), str(file))


def compressed(thing, file):
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(1))


@pytest.mark.parametrize("written_by", [old_format, program, compressed])
def test_other_formats_that_torch_reads_are_refused(saved, written_by):
    written_by({"step": 1}, saved / "common.pt")
    found = find_foreign_code(read_checkpoint(saved))
    assert found is not None
    assert found.file.name == "common.pt"


@pytest.mark.parametrize(
    "target",
    [
        "os.system", "torch.os.system", "torch.nn.modules.module.os.system", "torch.hub.load", "torch.load",
        "megatron.bridge.models.conversion.auto_bridge.AutoBridge.from_hf_pretrained", "numpy.f2py.os.system",
        "megatron.core.utils.subprocess.run", "torch.nn.functional._canonical_mask", "builtins.eval",
        "torch.utils.cpp_extension.load_inline",
        "torch.device.other", "signal.Signals.x", "torch.float32 x", "numpy.dtype.x", "nemotron.a-b",  # begin well
    ],
)  # fmt: skip
def test_what_the_config_of_a_checkpoint_would_call_counts(saved, target):
    config = yaml.safe_load((saved / "run_config.yaml").read_text())
    config["model"] = {"layers": [{"_target_": target, "_args_": ["true"]}]}
    (saved / "run_config.yaml").write_text(yaml.safe_dump(config))
    found = find_foreign_code(read_checkpoint(saved))
    assert found is not None
    assert (found.file.name, found.name) == ("run_config.yaml", target)


@pytest.mark.parametrize(
    "target",
    [
        "megatron.bridge.training.config.ConfigContainer", "torch.float32", "torch.nn.init.normal_", "signal.Signals",
        "megatron.core.activations.squared_relu", "nemotron.training.torch_layers.spec.torch_hybrid_stack_spec",
        "torch._C._nn.gelu", "torch.bfloat16", "megatron.core.optimizer.optimizer.MegatronOptimizer.scale_loss",
        "transformers.generation.configuration_utils.GenerationConfig", "torch.nn.functional.silu",
        "nemotron.secrets.mask_text",  # a module of ours, although Python has one of that name
    ],
)  # fmt: skip
def test_what_megatron_bridge_writes_there_passes(saved, target):
    config = yaml.safe_load((saved / "run_config.yaml").read_text())
    (saved / "run_config.yaml").write_text(yaml.safe_dump({**config, "model": {"_target_": target}}))
    assert find_foreign_code(read_checkpoint(saved)) is None


def test_who_knows_better_names_the_folder_and_is_reminded(saved, trace, monkeypatch, capfd):
    torch.save(Planted(trace), saved / "common.pt")
    monkeypatch.setenv(TRUST, f"/elsewhere:{saved.parent}")
    assert list(find_code_to_load(read_checkpoint(saved))) == []
    assert str(saved / "common.pt") in capfd.readouterr().err


@pytest.mark.parametrize("value", ["1", "", "/", ":", "/elsewhere"])
def test_nobody_trusts_every_checkpoint(saved, trace, monkeypatch, value):
    torch.save(Planted(trace), saved / "common.pt")
    monkeypatch.setenv(TRUST, value)
    [problem] = find_code_to_load(read_checkpoint(saved))
    assert f"{TRUST}={saved.parent}" in problem.hint


def test_training_looks_at_what_it_starts_from_and_at_what_it_continues(tmp_path, saved, trace):
    other = write_checkpoint(tmp_path / "other", 2)
    assert list(find_code_to_load(None, *map(read_checkpoint, (saved, other)))) == []
    for folder in (saved, other):
        torch.save(Planted(trace), folder / "common.pt")
    first, second = find_code_to_load(*map(read_checkpoint, (saved, other)))
    assert str(saved / "common.pt") in first.message
    assert str(other / "common.pt") in second.message


def test_the_model_that_adapters_belong_to_is_looked_at(tmp_path, saved, trace):
    torch.save(Planted(trace), saved / "common.pt")
    settings = {"peft": {"dim": 8}, "checkpoint": {"pretrained_checkpoint": str(saved.parent)}}
    write_checkpoint(tmp_path / "lora/checkpoints", 2, settings)
    run = find_run_folder(SftConfig(run=RunConfig(output_dir=str(tmp_path / "lora"))))
    [problem] = find_code_to_load(run.base, run.newest)
    assert str(saved / "common.pt") in problem.message


def test_the_plan_that_older_megatron_keeps_in_the_index_is_data(saved):
    from torch.distributed.checkpoint.metadata import Metadata, MetadataIndex
    from torch.distributed.checkpoint.planner import BytesIOWriteData, SavePlan, WriteItem, WriteItemType

    item = WriteItem(MetadataIndex("weight"), WriteItemType.BYTE_IO, bytes_io_data=BytesIOWriteData(3))
    (saved / ".metadata").write_bytes(pickle.dumps(Metadata({}, planner_data=SavePlan([item]))))
    assert find_foreign_code(read_checkpoint(saved)) is None


def test_a_trusted_folder_may_be_in_the_home(saved, trace, monkeypatch):
    torch.save(Planted(trace), saved / "common.pt")
    monkeypatch.setenv("HOME", str(saved.parent.parent))
    monkeypatch.setenv(TRUST, f"~/{saved.parent.name}")
    assert list(find_code_to_load(read_checkpoint(saved))) == []


@pytest.mark.parametrize(
    ("target", "leaves"),
    [
        ("torch.a._b.c", True),
        ("torch._C._nn.gelu", False),
        ("torch.a.b", False),
        ("torch.a.os.b", True),
        ("_a.b", False),
    ],
)
def test_a_private_name_or_a_module_of_python_on_the_way_leaves_the_package(monkeypatch, target, leaves):
    for error in (None, ValueError):

        def find(name, error=error):
            if error:
                raise error

        monkeypatch.setattr(foreign_code, "find_spec", find)
        assert foreign_code._leaves_package(target) is leaves


def test_one_file_of_a_program_among_others_is_enough(tmp_path):
    for names, is_program in ((["a/data.pkl", "a/data/0"], False), (["a/constants.pkl", "a/data/0"], True)):
        with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
            for name in names:
                archive.writestr(name, pickle.dumps(1))
        assert bool(foreign_code._check_archive(tmp_path / "x.pt")) is is_program


@pytest.mark.parametrize("value", ["", ":", "/elsewhere:"])
def test_an_empty_name_trusts_not_the_folder_that_one_is_in(saved, trace, monkeypatch, value):
    torch.save(Planted(trace), saved / "common.pt")
    monkeypatch.chdir(saved.parent)
    monkeypatch.setenv(TRUST, value)
    assert len(list(find_code_to_load(read_checkpoint(saved)))) == 1


def test_every_object_of_a_shard_is_looked_at_where_it_lies(tmp_path, trace):
    """Between others: neither the first nor the last."""
    parts = [archive_of(thing) for thing in (1, Planted(trace), 2)]
    (tmp_path / "shard").write_bytes(b"tensors" + b"".join(parts))
    ends = [7 + sum(map(len, parts[: number + 1])) for number in range(3)]
    places = [(end - len(part), len(part)) for end, part in zip(ends, parts, strict=True)]
    assert foreign_code._check_parts((tmp_path / "shard", places)) == (tmp_path / "shard", "posix.mkdir")
    assert foreign_code._check_parts((tmp_path / "shard", [places[0], places[2]])) == (tmp_path / "shard", None)
    assert foreign_code._check_parts((tmp_path / "gone", places)) == (tmp_path / "gone", None)


def test_one_compressed_file_among_others_is_enough(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("a/data.pkl", pickle.dumps(1))
        archive.writestr("a/data/0", b"0", compress_type=zipfile.ZIP_DEFLATED)
    assert foreign_code._check_archive(tmp_path / "x.pt") is not None


def test_a_pickle_is_looked_into_whatever_its_first_bytes_are(tmp_path, trace):
    """By its name: the oldest protocol has no mark."""
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("a/data.pkl", pickle.dumps(Planted(trace), protocol=0))
    assert foreign_code._check_archive(tmp_path / "x.pt") == "posix.mkdir"


@pytest.mark.parametrize("error", [EOFError, ValueError, NotImplementedError, zipfile.BadZipFile])
def test_an_archive_that_cannot_be_followed_is_refused(tmp_path, monkeypatch, error):
    def fail(file):
        raise error

    monkeypatch.setattr(zipfile, "ZipFile", fail)
    assert foreign_code._check_archive(tmp_path / "x.pt") is not None


def test_what_is_no_bytes_is_not_loaded_as_a_pickle():
    with pytest.raises(foreign_code._Refused):
        foreign_code._check_nested("text")


def test_the_modules_of_a_package_are_followed_as_far_as_there_are_any(tmp_path, monkeypatch):
    (tmp_path / "mine" / "os").mkdir(parents=True)
    (tmp_path / "mine" / "os" / "_own.py").touch()
    places = SimpleNamespace(submodule_search_locations=[str(tmp_path / "mine")])
    monkeypatch.setattr(foreign_code, "find_spec", lambda name: places)
    names = ("mine.os", "mine.os._own", "mine.os._own.call", "mine.os.sys", "mine.os._own.sys.exit", "mine.os._other")
    assert [foreign_code._leaves_package(name) for name in names] == [False, False, False, True, True, True]


DATA = (
    *(f"builtins.{name}" for name in ("dict", "list", "tuple", "set", "frozenset", "int", "float", "complex", "bool")),
    *(f"builtins.{name}" for name in ("bytes", "bytearray", "str", "slice")), "collections.deque",
    "collections.OrderedDict", "collections.defaultdict", "io.BytesIO", "_io.BytesIO", "_codecs.encode",
    "copyreg._reconstructor", "argparse.Namespace", "types.SimpleNamespace", "pathlib.PosixPath", "pathlib.Path",
    "pathlib.PurePosixPath", "pathlib._local.PosixPath", "signal.Signals", "datetime.timedelta", "datetime.datetime",
    "datetime.date", "datetime.timezone", "torch.Tensor", "torch.Generator", "torch.device", "torch.half",
    "torch.double",
    "torch.long", "numpy.dtype", "numpy._core.multiarray._reconstruct", "numpy.core.multiarray.scalar",
    "torch.Size", "torch.bool", "torch.bfloat16", "torch.float8_e4m3fn", "torch.int32", "torch.uint8", "torch.strided",
    "torch.UntypedStorage", "torch.FloatStorage", "torch._C.Generator", "torch._utils._rebuild_tensor_v2",
    "torch._tensor._rebuild_from_type_v2", "torch.nn.parameter.Parameter", "torch.storage.TypedStorage",
    "torch.storage.UntypedStorage", "torch.serialization._get_layout", "torch.distributed.checkpoint.metadata.Metadata",
    "torch.distributed.checkpoint.filesystem._StorageInfo", "torch.distributed.checkpoint.filesystem._StoragePrefix",
    "torch.distributed.checkpoint.planner.SavePlan", "torch.distributed.checkpoint.planner.WriteItem",
    "torch.distributed.checkpoint.planner.WriteItemType", "torch.distributed.checkpoint.planner.TensorWriteData",
    "torch.distributed.checkpoint.planner.BytesIOWriteData", "numpy.ndarray", "numpy.dtypes.Float64DType",
    "torch.distributed._shard.sharded_tensor.metadata.ShardedTensorMetadata", "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar", "numpy.random._pickle.__randomstate_ctor", "numpy.random._mt19937.MT19937",
    "numpy.random._pcg64.PCG64", "megatron.core.enums.ModelType", "megatron.core.transformer.enums.AttnBackend",
    "megatron.core.rerun_state_machine.RerunMode", "megatron.core.optimizer.OptimizerConfig",
    "megatron.core.optimizer.optimizer_config.AdamOptimizerConfig", "transformer_engine.common.recipe.DelayedScaling",
    "megatron.core.extensions.transformer_engine.TEDelayedScaling",
)  # fmt: skip
NO_DATA = (
    "builtins.eval", "builtins.getattr", "builtins.dict.fromkeys", "collections.namedtuple", "io.open", "_io.FileIO",
    "_codecs.decode", "copyreg.__newobj__", "argparse.ArgumentParser", "types.FunctionType", "pathlib.PosixPath.unlink",
    "signal.signal", "datetime.datetime.now", "torch.load", "torch.float", "torch.hub.load", "torch.Storage",
    "torch.storage._load_from_bytes", "torch._utils.ExceptionWrapper", "torch._utils._rebuild_",
    "torch.distributed.checkpoint.metadata.a.b", "torch.distributed.checkpoint.filesystem.FileSystemReader",
    "torch.distributed.checkpoint.planner.LoadPlan", "numpy.load", "numpy.core.multiarray.fromfile",
    "numpy.random._pickle.__bit_ctor_x", "megatron.core.enums.run", "megatron.core.utils.Path",
    "megatron.core.optimizer.get_optimizer", "transformer_engine.common.recipe.os.system", "builtins-dict",
    "torch.distributed._shard.sharded_tensor.metadata.a.b", "numpy.dtypes.os.XDType", "torch.int8.x",
)  # fmt: skip


def test_a_pickle_may_name_data_and_nothing_else():
    assert [name for name in DATA if not foreign_code._DATA.fullmatch(name)] == []
    without_a_dot = [f"{name[:at]}-{name[at + 1 :]}" for name in DATA for at, sign in enumerate(name) if sign == "."]
    deeper = [f"{name}.os.system" for name in DATA]
    assert [name for name in (*NO_DATA, *without_a_dot, *deeper) if foreign_code._DATA.fullmatch(name)] == []


LOADERS = (
    "from_pretrained", "from_hf_pretrained", "from_auto_config", "import_module", "safe_import_from", "safe_import",
    "instantiate", "load", "load_state_dict", "preload", "run_path",
)  # fmt: skip


def test_a_target_of_megatron_itself_loads_and_imports_nothing():
    assert [name for name in LOADERS if not foreign_code._LOADERS.fullmatch(name)] == []
    assert not any(map(foreign_code._LOADERS.fullmatch, ("squared_relu", "important", "trunk", "from_scratch")))
