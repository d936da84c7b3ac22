"""Load what every worker needs once, in the process that workers are forked from.

That process imports this module. It can be given only names of modules, so its environment names the pipe from which it
reads the tokenizer. It is started before the tokenizer is known, and imports meanwhile. Loading must not start a
thread, because a fork does not copy threads. Reading a vocabulary and compiling a template start none.
"""

import atexit
import contextlib
import gc
import json
import multiprocessing.forkserver
import os
import select
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nemotron.data_prep.engine import BYTES_FOR_A_WORKER
from nemotron.data_prep.engine.local import count_cores, get_ready
from nemotron.data_prep.engine.numpy_threads import import_numpy
from nemotron.files.regular_files import read_bytes

if TYPE_CHECKING:
    from nemotron.data_prep.config import DataPrepConfig

_PIPE = "NEMOTRON_PRELOAD_PIPE"
SECONDS_TO_WAIT = 5
"""How long that process waits for the name of the tokenizer. Without it, workers load the tokenizer."""


def start_importing_for(blends: Sequence[str], output_dir: str | None) -> None:
    """Start that process before the config is known, if there is much data here.

    It imports for 0.2 s. If the config decides against workers, only its CPU time is lost.

    Args:
        blends: Paths, of which one may be the blend.
        output_dir: Where a finished run would be; None if that does not matter.
    """
    if any(_is_worth_workers(path, output_dir, unknown=False) for path in blends):
        _start_importing()


def start_early(config: "DataPrepConfig") -> None:
    """Start that process before planning, if the run will likely have local workers.

    It loads what they need while this process imports the pipeline and plans.
    """
    finished = None if config.force else config.output_dir
    if (config.workers or count_cores()) > 1 and _is_worth_workers(config.blend_path, finished, unknown=True):
        start_preloading(config)


def start_preloading(config: "DataPrepConfig") -> None:
    """Start that process, if workers run on this machine, and name the tokenizer.

    A second call does nothing.
    """
    if config.engine == "local":
        _start_importing()
        _pipe.name("" if config.encoder == "tokenizers" else config.tokenizer.model)


def _start_importing() -> None:
    get_ready([__name__], _pipe.environment())


class _Pipe:
    """The pipe through which that process is told the tokenizer."""

    def __init__(self) -> None:
        self._ends: tuple[int, int] | None = None
        self._is_named = False

    def environment(self) -> dict[str, str]:
        """Return the variable that names the end to read from.

        It holds for as long as this process lives.
        """
        if self._ends is None:
            self._ends = os.pipe()
        return {_PIPE: f"/proc/{os.getpid()}/fd/{self._ends[0]}"}

    def name(self, tokenizer: str) -> None:
        """Write the name of the tokenizer, once."""
        if self._ends is not None and not self._is_named:
            self._is_named = True
            os.write(self._ends[1], tokenizer.encode())
            os.close(self._ends[1])


_pipe = _Pipe()


def _read_name(path: str) -> str:
    """Return what is written to a pipe.

    That is "" if nothing is written in time, or the process that would write it is gone.
    """
    with contextlib.suppress(OSError), open(path, "rb", buffering=0) as file:
        if select.select([file], [], [], SECONDS_TO_WAIT)[0]:
            return file.read().decode()
    return ""


def _is_worth_workers(blend_path: str, output_dir: str | None, *, unknown: bool) -> bool:
    """Tell whether several workers may be worth starting.

    They are not if the run is already finished, or for a few local megabytes.

    Args:
        blend_path: The blend, or a file of chat data.
        output_dir: Where a finished run would be; None if that does not matter.
        unknown: The answer for what is not a blend of local files.
    """
    if output_dir is not None and (Path(output_dir) / "metadata.json").exists():
        return False
    path = Path(blend_path)
    try:
        files = [path]
        if path.suffix == ".json":
            files = [path.parent / entry["path"] for entry in json.loads(read_bytes(path))["datasets"]]
        if all(map(Path.is_file, files)):
            return sum(file.stat().st_size for file in files) > BYTES_FOR_A_WORKER
    except (OSError, ValueError, LookupError, TypeError):
        pass
    return unknown


def _load(pipe: str) -> None:
    """Load the modules, the bundled template, and the tokenizer if it is a file.

    The name of the tokenizer is read from `pipe`. Workers load everything else.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process handles Ctrl-C
    gc.disable()  # nothing loaded here is garbage, and a collector that touches it would copy it to every worker
    import_numpy()
    from nemotron.data_prep.chat.jinja_sandbox import start_no_thread
    from nemotron.data_prep.chat.template import load_template
    from nemotron.data_prep.packing import shards as shards
    from nemotron.data_prep.tokenization import part as part
    from nemotron.data_prep.tokenizer.encoders import load_fast
    from nemotron.data_prep.tokenizer.files import read_definition

    start_no_thread()
    load_template("nemotron3").compile()
    if tokenizer := _read_name(pipe):
        with contextlib.suppress(Exception):  # the plan will report what is wrong with it
            load_fast(read_definition(Path(tokenizer)))
    gc.freeze()
    gc.enable()


def _remove_socket() -> None:
    """Remove the folder of the socket at which this process is asked for workers.

    The first process does that when it ends, unless it is killed.
    """
    address = multiprocessing.forkserver._forkserver._forkserver_address  # pyright: ignore
    if address and (folder := Path(address).parent).name.startswith("pymp-"):
        shutil.rmtree(folder, ignore_errors=True)


if (_wanted := os.environ.pop(_PIPE, None)) is not None:
    atexit.register(_remove_socket)
    _load(_wanted)
