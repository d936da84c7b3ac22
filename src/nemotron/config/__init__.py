"""Load a typed config from YAML files and `key=value` overrides.

The config knows where each of its values was written.

loaded = load_config("tiny", ["train.train_iters=20"], schema=SftConfig)
loaded.config.run.output_dir, loaded.origins["train.train_iters"]  # ..., "command line"
"""

from nemotron.config.errors import ConfigError
from nemotron.config.files import config_names, find_config
from nemotron.config.layers import list_ancestors
from nemotron.config.loader import Loaded, load_config
from nemotron.config.overrides import add_word, may_have, route_overrides
from nemotron.config.path_settings import PathKeys, PathSetting
from nemotron.config.spellings import Alternatives, Word
from nemotron.files.paths import config_dir
from nemotron.secrets import holds_secret, is_secret

__all__ = [
    "Alternatives",
    "ConfigError",
    "Loaded",
    "PathKeys",
    "PathSetting",
    "Word",
    "add_word",
    "config_dir",
    "config_names",
    "find_config",
    "holds_secret",
    "is_secret",
    "list_ancestors",
    "load_config",
    "may_have",
    "route_overrides",
]
