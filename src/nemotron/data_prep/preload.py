"""What every worker needs, loaded once: in the process that workers are forked from, which imports this module.

That process can be given the names of modules and nothing else; what to load it finds in its environment. Loading must
start no thread, as a fork would not copy it: neither reading a vocabulary nor compiling a template does.
"""

import contextlib
import gc
import os
import signal
from pathlib import Path

from nemotron.data_prep.config import DataPrepConfig
from nemotron.data_prep.engine.local import default_workers, get_ready

_TOKENIZER = "NEMOTRON_PRELOAD_TOKENIZER"


def begin(config: DataPrepConfig) -> None:
    """Start that process, if the run will have workers on this machine. It loads what they need while this one goes on.

    `prepare` does; who begins before importing the pipeline has both import at once. Beginning twice changes nothing.
    """
    if config.engine == "local" and (config.workers or default_workers()) > 1:
        get_ready([__name__], environment(config))


def environment(config: DataPrepConfig) -> dict[str, str]:
    """What that process is to have in its environment, so that it loads what a run needs."""
    return {_TOKENIZER: "" if config.encoder == "tokenizers" else config.tokenizer.model}


def _load(tokenizer: str) -> None:
    """Load the modules, the bundled template, and the tokenizer where it is a file. Anything else, workers load."""
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
