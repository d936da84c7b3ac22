"""Find config files: the shipped ones by name, a user's own by path."""

from pathlib import Path

from nemotron.config.errors import ConfigError
from nemotron.errors import did_you_mean
from nemotron.files.paths import config_dir, expand_home

_SUFFIXES = (".yaml", ".yml")


def find_config(name_or_path: str, group: str = "") -> Path:
    """Find the file of a config that is given by name or path.

    `tiny` is the shipped `config/<group>/tiny.yaml`; `my/run.yaml` is relative to the working directory.

    A path below `config/` that does not exist there means the shipped config, because messages show it that way.

    Raises:
        ConfigError: There is no such file; the message suggests the closest name.
    """
    known = config_names(group)
    shipped = config_dir() / group / f"{name_or_path}.yaml"
    path = Path(expand_home(name_or_path))
    is_path = name_or_path.endswith(_SUFFIXES) or path.parent != Path()
    below = config_dir() / path.relative_to("config") if path.parts[:1] == ("config",) else shipped
    for candidate in (path, below, shipped) if is_path else (shipped,):
        if candidate.is_file():
            return candidate.resolve()
    if is_path:
        what = "is a folder, not a config file" if path.is_dir() else "does not exist"
        raise ConfigError(f"The config file {name_or_path} {what}.", _suggest(path.stem, known))
    raise ConfigError(f'No config is called "{name_or_path}".', _suggest(name_or_path, known))


def find_parent(name: str, child: Path, group: str, origin: str) -> Path:
    """Find the file that `defaults: [name]` in `child` means.

    It is looked up next to `child`, then among the shipped configs of the same group. A file is never its own parent,
    so a user's `default.yaml` may extend the shipped `default`.
    """
    file_name = name if name.endswith(_SUFFIXES) else f"{name}.yaml"
    places = [child.parent, config_dir() / group]
    for place in places:
        path = (place / file_name).resolve()
        if path.is_file() and path != child:
            return path
    known = sorted({path.stem for place in places for path in place.glob("*.yaml")} - {child.stem})
    raise ConfigError(f'{origin}: there is no config "{name}" to inherit from.', _suggest(name, known))


def config_names(group: str = "") -> list[str]:
    """List the names of the shipped configs of a group, sorted."""
    return sorted(path.stem for path in (config_dir() / group).glob("*.yaml"))


def display_path(path: Path) -> str:
    """Return `path` as messages show it.

    A shipped config is `config/tiny.yaml`; a path below the working directory is relative to it.
    """
    for base, prefix in ((config_dir(), "config"), (Path.cwd(), "")):
        if path.is_relative_to(base):
            return str(Path(prefix, path.relative_to(base)))
    return str(path)


def _suggest(name: str, known: list[str]) -> str:
    near = did_you_mean(name, known)
    listed = f"Known configs: {', '.join(known)}; or give the path of a .yaml file." if known else None
    return " ".join(filter(None, [near, listed])) or "Give the path of a .yaml file."
