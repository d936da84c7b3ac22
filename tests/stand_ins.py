"""Stand-ins for packages that quick tests do without: Megatron, Ray, W&B and what else takes seconds to import."""

import sys
from collections.abc import Mapping
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

import pytest


class StandIn(ModuleType):
    """A module with what a test puts into it; it is a package too, and lacks every module that nobody put there."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__ = []


def put_modules(monkeypatch: pytest.MonkeyPatch, modules: Mapping[str, Mapping[str, Any]]) -> dict[str, ModuleType]:
    """Put modules with these contents in the place of the real ones, next to those that were put there before.

    Returns:
        Them by name, packages included.
    """
    made: dict[str, ModuleType] = {}
    for name, contents in modules.items():
        parts = [name] if name.startswith("nemotron.") else name.split(".")  # our packages stay
        for end in range(1, len(parts) + 1):
            whole = ".".join(parts[:end])
            if not isinstance(sys.modules.get(whole), StandIn):
                monkeypatch.setitem(sys.modules, whole, StandIn(whole))
            made[whole] = sys.modules[whole]
            if end > 1:
                monkeypatch.setattr(made[".".join(parts[: end - 1])], parts[end - 1], made[whole], raising=False)
        for key, value in contents.items():
            monkeypatch.setattr(made[name], key, value, raising=False)
    return made


def import_again(monkeypatch: pytest.MonkeyPatch, name: str) -> Any:
    """Import one of our modules for this test alone, with the stand-ins that it imports at its top."""
    spec = find_spec(name)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module
