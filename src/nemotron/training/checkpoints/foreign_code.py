"""Find code that a checkpoint would run when it is loaded, without running it.

torch reads `.metadata` with plain pickle, and parts that are not tensors with `weights_only=False`
(torch/distributed/checkpoint/filesystem.py, default_planner.py). Megatron-Bridge calls what `_target_` in
run_config.yaml names. Only names that belong in checkpoints are accepted.
"""

import io
import os
import re
import sys
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO

from nemotron.errors import Problem
from nemotron.files.regular_files import open_file, read_bytes
from nemotron.printable import printable
from nemotron.training.checkpoints.checkpoint import METADATA, RUN_CONFIG, Checkpoint
from nemotron.training.checkpoints.torch_files import PickleReader

TRUST = "NEMOTRON_TRUST_CHECKPOINTS"
"""The environment variable that names folders, with colons between them, whose checkpoints are loaded all the same.

Folders and not a switch, because a switch that is set once would trust every later checkpoint too. No job gets it from
the environment of who submits it.
"""
_READERS = 16
_TENSOR = "torch.distributed.checkpoint.metadata.TensorStorageMetadata"
_NESTED = ("torch.storage._load_from_bytes", "megatron.core.safe_globals.safe_load_from_bytes")
_NO_ARCHIVE = "something else than torch.save writes"
_ARCHIVES = (".pt", ".pth", ".bin", ".pkl", ".ckpt")
_DATA = re.compile(
    r"builtins\.(dict|list|tuple|set|frozenset|int|float|complex|bool|bytes|bytearray|str|slice)"
    r"|collections\.(OrderedDict|defaultdict|deque)|_?io\.BytesIO|_codecs\.encode|copyreg\._reconstructor"
    r"|argparse\.Namespace|types\.SimpleNamespace|pathlib(\._local)?\.(Pure)?(Posix)?Path|signal\.Signals"
    r"|datetime\.(datetime|date|timedelta|timezone)"
    r"|torch\.(Size|Tensor|Generator|device|strided|bool|half|double|long|[a-z]*(int|float)\d\w*|\w+Storage)"
    r"|torch\._C\.Generator|torch\._utils\._rebuild_\w+|torch\._tensor\._rebuild_from_type_v2"
    r"|torch\.nn\.parameter\.Parameter|torch\.storage\.(Unt|T)ypedStorage|torch\.serialization\._get_layout"
    r"|torch\.distributed\.checkpoint\.(metadata\.\w+|filesystem\._Storage(Info|Prefix))"
    r"|torch\.distributed\.checkpoint\.planner\.(SavePlan|WriteItem(Type)?|TensorWriteData|BytesIOWriteData)"
    r"|torch\.distributed\._shard\.sharded_tensor\.metadata\.\w+"
    r"|numpy\.(ndarray|dtype|dtypes\.\w+DType|_?core\.multiarray\.(_reconstruct|scalar))"
    r"|numpy\.random\.(_pickle\.__\w+_ctor|_mt19937\.MT19937|_pcg64\.PCG64)"
    r"|megatron\.core\.(\w+\.)*(enums|rerun_state_machine)\.[A-Z]\w*"
    r"|megatron\.core\.optimizer\.(optimizer_config\.)?\w*OptimizerConfig"
    r"|megatron\.core\.extensions\.transformer_engine\.TEDelayedScaling|transformer_engine\.common\.recipe\.\w+"
)
"""Names that a pickle of a checkpoint may have: data, and functions that rebuild data."""
_TARGETS = re.compile(
    r"torch\.(nn\.[\w.]+|[a-z]*(int|float)\d\w*|bool|half|double|long|Size|device)|torch\._C\._nn\.gelu"
    r"|numpy\.(ndarray|dtype|[a-z]*(int|float)\d\w*)|signal\.Signals|transformers\.([\w.]+\.)?[A-Z]\w*Config"
    r"|(megatron|nemotron|nemo|nvidia|transformer_engine)\.[\w.]+"
)
"""Names that run_config.yaml may have as targets."""
_LOADERS = re.compile(
    r"from_\w*pretrained|from_auto_config|(safe_)?import_\w+|safe_import|instantiate|\w*load\w*|run_\w+"
)


@dataclass(frozen=True)
class ForeignCode:
    """A name that no checkpoint needs, and that loading this one would call."""

    file: Path
    name: str

    def __str__(self) -> str:
        return f"{self.file} holds {self.name}, which is no data: loading it could run its author's code"


class _Refused(Exception):
    """A pickle has a name that is not data."""


class _StrictReader(PickleReader):
    """Stops at the first name that is not data, before it is used."""

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if full in _NESTED:
            return _check_nested
        if full == "_codecs.encode":  # protocol 2, which torch.save uses, writes bytes this way
            return str.encode
        if "." in name or not _DATA.fullmatch(full):
            raise _Refused(full)
        return super().find_class(module, name)


def find_code_to_load(*checkpoints: Checkpoint | None) -> Iterator[Problem]:
    """Yield a problem for each checkpoint that would run its own code.

    One below a folder that `TRUST` names gets a line on stderr instead.

    Args:
        checkpoints: Those to load, including the base models of adapters. None is skipped.
    """
    for checkpoint in {each.folder: each for each in checkpoints if each is not None}.values():
        if not (found := find_foreign_code(checkpoint)):
            continue
        if _is_trusted(checkpoint.folder):
            print(printable(f"warning: {found}. {TRUST} names it, so it is loaded."), file=sys.stderr)
            continue
        yield Problem(
            f"{found}.",
            "Get the checkpoint again from a source you trust. "
            f"If you trust this one, name its folder to load it: {TRUST}={checkpoint.folder.parent}",
        )


def _is_trusted(folder: Path) -> bool:
    named = [Path(name).expanduser().resolve() for name in os.environ.get(TRUST, "").split(os.pathsep) if name]
    return any(folder.resolve().is_relative_to(trusted) for trusted in named if trusted != Path(trusted.anchor))


def find_foreign_code(checkpoint: Checkpoint) -> ForeignCode | None:
    """Find the first name in a checkpoint that is not data; None if there is none.

    This reads every index, every small file, and the parts of shards that are not tensors. torch itself reads tensors
    with `weights_only=True`.
    """
    for target in _targets(checkpoint.saved):
        if not _TARGETS.fullmatch(target) or _LOADERS.fullmatch(target.rsplit(".", 1)[-1]) or _leaves_package(target):
            return ForeignCode(checkpoint.folder / RUN_CONFIG, target)
    for index in sorted(checkpoint.folder.rglob(METADATA)):
        pickled = read_bytes(index)
        if name := _check(io.BytesIO(pickled)):
            return ForeignCode(index, name)
        with ThreadPoolExecutor(_READERS) as readers:
            for shard, name in readers.map(_check_parts, _object_parts(index.parent, pickled).items()):
                if name is not None:
                    return ForeignCode(shard, name)
    for file in sorted(checkpoint.folder.rglob("*")):
        if file.suffix in _ARCHIVES and file.is_file() and (name := _check_archive(file)):
            return ForeignCode(file, name)
    return None


def _check(pickled: BinaryIO) -> str | None:
    """Return the name that a pickle is refused for; None if it is only data."""
    try:
        _StrictReader(pickled).load()
    except _Refused as refused:
        return str(refused)
    except Exception as error:  # torch may be able to read what we cannot
        return f"what cannot be followed ({type(error).__name__})"
    return None


def _object_parts(folder: Path, index: bytes) -> dict[Path, list[tuple[int, int]]]:
    """Return offset and length of the parts of each shard that may not be tensors."""
    try:
        state = PickleReader(io.BytesIO(index)).load().state
        tensors = {name for name, entry in state["state_dict_metadata"].items() if _class_of(entry) == _TENSOR}
        parts: dict[Path, list[tuple[int, int]]] = {}
        for key, where in state["storage_data"].items():
            if key.state["fqn"] not in tensors:
                place = where.state
                spot = int(place["offset"]), int(place["length"])
                parts.setdefault(folder / place["relative_path"], []).append(spot)
        return parts
    except Exception:  # checkpoint.py says what is wrong with it
        return {}


def _class_of(entry: Any) -> str:
    return str(getattr(type(entry), "pickled_name", ""))


def _check_parts(shard_and_parts: tuple[Path, list[tuple[int, int]]]) -> tuple[Path, str | None]:
    shard, parts = shard_and_parts
    try:
        with open_file(shard) as file:
            for offset, length in sorted(parts):
                file.seek(offset)
                if name := _check_archive(io.BytesIO(file.read(length))):
                    return shard, name
    except OSError:
        return shard, None  # checkpoint.py says so
    return shard, None


def _check_archive(file: Path | io.BytesIO) -> str | None:
    """Check every pickle in a file of torch.save: its index, and nested pickles."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            compressed = any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist())
            if compressed or len(set(names)) < len(names) or any("constants.pkl" in name for name in names):
                return _NO_ARCHIVE  # a TorchScript program, or something that two readers may read differently
            for name in names:
                with archive.open(name) as opened:
                    start = opened.read(2)
                    is_pickle = name.endswith(".pkl") or (start[:1] == b"\x80" and start[1:] in b"\2\3\4\5")
                    if is_pickle and (found := _check(io.BytesIO(start + opened.read()))):
                        return found
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError):
        return _NO_ARCHIVE  # torch would read it as its old format of several pickles
    return None


def _check_nested(content: Any) -> None:
    """Replaces functions that load bytes inside a pickle as a pickle."""
    if not isinstance(content, bytes):
        raise _Refused(_NESTED[0])
    if name := _check_archive(io.BytesIO(content)):
        raise _Refused(name)


def _targets(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "_target_" in value:
            yield str(value["_target_"])
        for inner in value.values():
            yield from _targets(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _targets(inner)


def _leaves_package(target: str) -> bool:
    """Tell whether a dotted name goes through a module to one that it imports.

    `torch.nn.modules.module.os.system` does.
    """
    package, *path = target.split(".")
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        spec = None
    places = [Path(place) for place in (spec and spec.submodule_search_locations) or []]
    while path and (below := [place / path[0] for place in places if _is_module(place / path[0])]):
        places, path = below, path[1:]
    private = target != "torch._C._nn.gelu" and any(name.startswith("_") for name in path)
    return private or any(name in sys.stdlib_module_names for name in path)


def _is_module(place: Path) -> bool:
    return place.is_dir() or place.with_suffix(".py").is_file()
