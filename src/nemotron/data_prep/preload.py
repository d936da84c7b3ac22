"""Load what every worker needs once, in the process that workers are forked from.

That process imports this module. It can be given only names of modules, so it finds what to load in its environment.
Loading must not start a thread, because a fork does not copy threads. Reading a vocabulary and compiling a template
start none.
"""

import atexit
import contextlib
import gc
import json
import multiprocessing.forkserver
import os
import shutil
import signal
from pathlib import Path

from nemotron.data_prep.config import DataPrepConfig
from nemotron.data_prep.engine import BYTES_FOR_A_WORKER
from nemotron.data_prep.engine.local import count_cores, get_ready
from nemotron.data_prep.engine.numpy_threads import import_numpy
from nemotron.records.regular_files import read_bytes

_TOKENIZER = "NEMOTRON_PRELOAD_TOKENIZER"


def start_early(config: DataPrepConfig) -> None:
    """Start that process before planning, if the run will likely have local workers.

    It loads what they need while this process imports the pipeline and plans.
    """
    if (config.workers or count_cores()) > 1 and _is_worth_workers(config):
        start_preloading(config)


def start_preloading(config: DataPrepConfig) -> None:
    """Start that process, if workers run on this machine.

    A second call does nothing.
    """
    if config.engine == "local":
        get_ready([__name__], make_environment(config))


def _is_worth_workers(config: DataPrepConfig) -> bool:
    """Tell whether several workers may be worth starting.

    They are not if the run is already finished, or for a few local megabytes.
    """
    if not config.force and (Path(config.output_dir) / "metadata.json").exists():
        return False
    path = Path(config.blend_path)
    try:
        files = [path]
        if path.suffix == ".json":
            files = [path.parent / entry["path"] for entry in json.loads(read_bytes(path))["datasets"]]
        return not all(map(Path.is_file, files)) or sum(file.stat().st_size for file in files) > BYTES_FOR_A_WORKER
    except (OSError, ValueError, LookupError, TypeError):
        return True  # not a blend of local files


def make_environment(config: DataPrepConfig) -> dict[str, str]:
    """Return the environment that tells that process what to load."""
    return {_TOKENIZER: "" if config.encoder == "tokenizers" else config.tokenizer.model}


def _load(tokenizer: str) -> None:
    """Load the modules, the bundled template, and the tokenizer if it is a file.

    Workers load everything else.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process handles Ctrl-C
    gc.disable()  # nothing loaded here is garbage, and a collector that touches it would copy it to every worker
    import_numpy()
    from nemotron.data_prep.chat.jinja_sandbox import start_no_thread
    from nemotron.data_prep.chat.template import load_template
    from nemotron.data_prep.packing import shards as shards
    from nemotron.data_prep.tokenization import part as part
    from nemotron.data_prep.tokenization.encoders import load_fast
    from nemotron.data_prep.tokenization.tokenizer_files import read_definition

    start_no_thread()
    load_template("nemotron3")
    if tokenizer:
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


if (_wanted := os.environ.pop(_TOKENIZER, None)) is not None:
    atexit.register(_remove_socket)
    _load(_wanted)
