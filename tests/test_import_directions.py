"""Imports go one way: rules of the design, read off the syntax tree, imports inside functions included."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[1] / "src"
MODULES = {
    ".".join(path.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__"): path for path in SRC.rglob("*.py")
}
ONLY_IN = {
    "megatron": "nemotron.training",
    "nemo_run": "nemotron.launch",
    "wandb": "nemotron.lineage",
    "typer": "nemotron.cli",
    "rich": "nemotron.cli",
}
"""A library, and the one package that may import it."""
BELOW_CLI = [f"nemotron.{room}" for room in ("config", "data_prep", "training", "launch", "lineage")]
READ_WITHOUT_MEGATRON = [f"nemotron.training.{room}" for room in ("checks", "parallelism", "checkpoints")]
NEVER = [
    *[(room, above) for room in BELOW_CLI for above in ("nemotron.cli", "nemotron.recipes")],
    *[(room, "nemotron.launch") for room in BELOW_CLI if room != "nemotron.launch"],
    *[(room, library) for room in READ_WITHOUT_MEGATRON for library in ("nemotron.training.bridge", "megatron")],
    *[(f"nemotron.training.{room}", "nemotron.training.checks") for room in ("parallelism", "checkpoints", "bridge")],
    ("nemotron.data_prep", "nemotron.training"),
    ("nemotron.lineage", "nemotron.config"),
]
"""(who, never imports whom)"""
DATA_FLOW = (
    *("config", "drop_reasons", "notes", "part_index", "sources", "chat", "dialects", "reasoning_modes", "token_roles"),
    *(
        "plain_rows",
        "tokenizer",
        "tokenization",
        "engine",
        "packing.lengths",
        "plan",
        "selection",
        "packing",
        "output",
        "report",
        "imports",
        "preload",
        "pipeline",
        "inspection",
        "blend_check",
    ),
)
"""Rooms and modules of data prep: each imports only from itself and those before it."""


def below(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def find_imports(path: Path) -> set[str]:
    """The modules that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"{path} has a relative import: write it out"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in names}
    return found


Imports = list[tuple[str, str]]


@pytest.fixture(scope="module")
def imports() -> Imports:
    """Who imports whom."""
    return [(module, name) for module, path in sorted(MODULES.items()) for name in sorted(find_imports(path))]


@pytest.mark.parametrize(("library", "package"), ONLY_IN.items())
def test_a_library_has_one_importer(imports: Imports, library: str, package: str) -> None:
    assert [(who, whom) for who, whom in imports if below(whom, library) and not below(who, package)] == []


@pytest.mark.parametrize(("package", "other"), NEVER)
def test_one_never_imports_the_other(imports: Imports, package: str, other: str) -> None:
    assert [(who, whom) for who, whom in imports if below(who, package) and below(whom, other)] == []


def test_data_flows_one_way(imports: Imports) -> None:
    def place(module: str) -> int | None:
        fits = (index for index, room in enumerate(DATA_FLOW) if below(module, f"nemotron.data_prep.{room}"))
        return next(fits, None)

    placed = [(who, place(who), whom, place(whom)) for who, whom in imports]
    assert [(who, whom) for who, here, whom, there in placed if None not in (here, there) and there > here] == []


PACKAGES = sorted(module for module, path in MODULES.items() if path.name == "__init__.py")


@pytest.mark.parametrize("package", PACKAGES)
def test_rooms_of_a_package_stand_on_one_another(imports: Imports, package: str) -> None:
    """Files and folders of a package, its face aside, have an order in which each imports only what is below it."""

    def room(module: str) -> str | None:
        return module.removeprefix(f"{package}.").split(".")[0] if module.startswith(f"{package}.") else None

    below_it: dict[str, set[str]] = {}
    for who, whom in imports:
        here, there = room(who), room(whom)
        if here is not None and there not in (None, here):
            below_it.setdefault(here, set()).add(there)
    TopologicalSorter(below_it).prepare()  # raises CycleError, with the rooms in a circle


def test_no_files_import_each_other(imports: Imports) -> None:
    whom = {module: {name for who, name in imports if who == module and name in MODULES} for module in MODULES}
    TopologicalSorter(whom).prepare()  # raises CycleError, with the files in a circle
