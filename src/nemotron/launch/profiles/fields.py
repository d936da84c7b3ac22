"""List the fields of an executor of the installed NeMo-Run.

They are read from its source, because importing NeMo-Run takes seconds.
"""

import ast
import types
import typing
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args, get_origin

from nemotron.launch.profiles.env_file import EnvFile, ProfileError

CLASSES = {
    "skypilot": "SkypilotExecutor",
    "skypilot_jobs": "SkypilotJobsExecutor",
    "lepton": "LeptonExecutor",
    "dgxcloud": "DGXCloudExecutor",
    "kubeflow": "KubeflowExecutor",
}
"""NeMo-Run's classes, by the name of their module."""
_OURS = ("packager", "launcher", "env_vars", "experiment_id", "job_dir")
"""Fields that we set ourselves: the job's code, its launch script and what that exports."""
_ALSO_NEEDED = {"kubeflow": ("image", "workdir_pvc")}
"""Fields that NeMo-Run needs to copy the job's folder to the cluster, or the cluster needs to start it."""
_WORDS = {
    str: "text in quotes",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "a table",
    list: "a list",
    tuple: "a list",
}


@dataclass(frozen=True)
class Field:
    """A field of an executor's dataclass."""

    kind: Any
    """Its annotation as a type; Any if it is not a simple one."""
    required: bool


@lru_cache
def executor_fields(executor: str) -> dict[str, Field]:
    """List the fields of an executor that a profile may set.

    Args:
        executor: A name as in `executor = "lepton"`.

    Raises:
        ProfileError: NeMo-Run is not installed, or has no such executor.
    """
    spec = find_spec("nemo_run")
    folder = Path(spec.origin).parent / "core" / "execution" if spec and spec.origin else None
    if folder is None or not (folder / f"{executor}.py").is_file():
        raise ProfileError(
            f"The installed NeMo-Run has no executor {executor}.", "Install the locked versions with uv sync."
        )
    base = _dataclass_fields(folder / "base.py", "Executor")
    own = _dataclass_fields(folder / f"{executor}.py", CLASSES[executor])
    needed = _ALSO_NEEDED.get(executor, ())
    return {
        name: Field(field.kind, field.required or name in needed)
        for name, field in (base | own).items()
        if name not in _OURS
    }


def check_fields(file: EnvFile, executor: str, table: str) -> None:
    """Refuse values of the wrong type for the executor's fields.

    Raises:
        ProfileError: A value is of another type; the message has the file and line of the first.
    """
    for key, field in executor_fields(executor).items():
        value = file.table(table).get(key)
        if value is not None and not _fits(value, field.kind):
            raise ProfileError(f"{file.place(key, table)}: {key} should be {_describe(field.kind)}.")


def check_required(file: EnvFile, executor: str, table: str, given: typing.Collection[str]) -> None:
    """Refuse a profile that leaves out what the executor needs.

    Raises:
        ProfileError: Fields are missing; the message names all of them.
    """
    fields = executor_fields(executor)
    if missing := [name for name, field in fields.items() if field.required and name not in given]:
        place = file.place("", table)
        raise ProfileError(f'{place}: executor = "{executor}" needs {", ".join(missing)} too.', f"Add to [{table}].")


def _dataclass_fields(path: Path, name: str) -> dict[str, Field]:
    """Read the fields that a dataclass's constructor takes."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    body = next((node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name), [])
    fields = {}
    for node in body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and _is_given(node.value):
            fields[node.target.id] = Field(_kind(node.annotation), node.value is None)
    return fields


def _is_given(default: ast.expr | None) -> bool:
    """Tell whether a field is a parameter; `field(init=False)` is not."""
    keywords = default.keywords if isinstance(default, ast.Call) else []
    return not any(word.arg == "init" and ast.unparse(word.value) == "False" for word in keywords)


def _kind(annotation: ast.expr) -> Any:
    try:
        return eval(ast.unparse(annotation), {**vars(typing)})
    except (NameError, TypeError):
        return Any


def _fits(value: Any, kind: Any) -> bool:
    origin, parts = get_origin(kind) or kind, get_args(kind)
    if origin is Any:
        return True
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, part) for part in parts)
    if origin in (list, tuple):
        return isinstance(value, list) and all(_fits(item, parts[0]) for item in value if parts)
    if origin is dict:
        return isinstance(value, dict) and all(_fits(item, parts[1]) for item in value.values() if parts)
    if origin is float:
        return type(value) in (int, float)
    return type(value) is origin


def _describe(kind: Any) -> str:
    if get_origin(kind) in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(_describe(part) for part in get_args(kind) if part is not type(None)))
    return _WORDS.get(get_origin(kind) or kind, str(kind))
