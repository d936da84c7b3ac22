"""What every worker needs, loaded once.

It is loaded in the process that workers are forked from, which imports this module.

That process can be given the names of modules and nothing else; what to load it finds in its environment. Loading must
start no thread, as a fork would not copy it: neither reading a vocabulary nor compiling a template does.
"""

import contextlib
import gc
import json
import os
import signal
from pathlib import Path

from nemotron.data_prep.config import DataPrepConfig
from nemotron.data_prep.engine import BYTES_FOR_A_WORKER
from nemotron.data_prep.engine.local import default_workers, get_ready

_TOKENIZER = "NEMOTRON_PRELOAD_TOKENIZER"


def begin_early(config: DataPrepConfig) -> None:
    """Start that process before there is a plan.

    If the run will likely have workers on this machine.

    It loads what they need while this process imports the pipeline and plans.
    """
    if (config.workers or default_workers()) > 1 and _may_be_much_work(config):
        begin(config)


def begin(config: DataPrepConfig) -> None:
    """Start that process, if workers are of this machine.

    Beginning twice changes nothing.
    """
    if config.engine == "local":
        get_ready([__name__], environment(config))


def _may_be_much_work(config: DataPrepConfig) -> bool:
    """Tell whether several workers may be worth it.

    Not where a finished run stands, nor for a few local megabytes.
    """
    if not config.force and (Path(config.output_dir) / "metadata.json").exists():
        return False
    path = Path(config.blend_path)
    try:
        files = [path]
        if path.suffix == ".json":
            files = [path.parent / entry["path"] for entry in json.loads(path.read_bytes())["datasets"]]
        return not all(map(Path.is_file, files)) or sum(file.stat().st_size for file in files) > BYTES_FOR_A_WORKER
    except (OSError, ValueError, LookupError, TypeError):
        return True  # no blend of local files


def environment(config: DataPrepConfig) -> dict[str, str]:
    """Return the environment of that process, so that it loads what a run needs."""
    return {_TOKENIZER: "" if config.encoder == "tokenizers" else config.tokenizer.model}


def _load(tokenizer: str) -> None:
    """Load the modules, the bundled template, and the tokenizer where it is a file.

    Anything else, workers load.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the first process's to handle
    gc.disable()  # nothing loaded here is garbage, and a collector that looks at it again copies it into every worker
    from nemotron.data_prep.chat.template import load_template
    from nemotron.data_prep.packing import shards as shards
    from nemotron.data_prep.tokenization import part as part
    from nemotron.data_prep.tokenization.encoders import load_fast
    from nemotron.data_prep.tokenization.tokenizer_files import read_definition

    load_template("nemotron3")
    if tokenizer:
        with contextlib.suppress(Exception):  # the plan says what is wrong with it
            load_fast(read_definition(Path(tokenizer)))
    gc.freeze()
    gc.enable()


if (_wanted := os.environ.pop(_TOKENIZER, None)) is not None:
    _load(_wanted)
