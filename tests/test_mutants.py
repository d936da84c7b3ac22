"""`tools.mutants` makes one change at a time, and says which of them no test notices."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from tools.mutants.changes import list_changes

ROOT = Path(__file__).resolve().parents[1]


def changed(statement: str) -> list[str]:
    """The statement in each of its changed forms."""
    source = f"def f(a, b):\n    {statement}"
    found = []
    for number in range(len(list_changes(ast.parse(source)))):
        module = ast.parse(source)
        list_changes(module)[number].apply()
        found.append(ast.unparse(module).partition("\n    ")[2].replace("\n    ", "; "))
    return found


@pytest.mark.parametrize(
    ("statement", "forms"),
    [
        ("a = b < 2", ["a = b <= 2", "a = b < 3"]),
        ("a = b and not a", ["a = b or not a", "a = b and a"]),
        ("a = b + 1", ["a = b - 1", "a = b + 2"]),
        ("a += b", ["a -= b"]),
        ("return max(a, key=b)", ["return", "return max(a)", "return min(a, key=b)"]),
        ("a.x = b", ["pass"]),
        ("raise a", ["pass"]),
        ("a = [b for b in a if b]", ["a = [b for b in a]"]),
        ("a = {'x': a, 'y': True}", ["a = {'y': True}", "a = {'x': a}", "a = {'x': a, 'y': False}"]),
        ("a = b if a else {a, b}", ["a = b if True else {a, b}", "a = b if False else {a, b}", "a = b if a else {b}",
                                    "a = b if a else {a}"]),
    ],
)  # fmt: skip
def test_a_statement_has_these_changes(statement: str, forms: list[str]) -> None:
    assert changed(statement) == forms


@pytest.mark.parametrize("statement", ["'''A docstring.'''", "a = f'{b + 1}'", "a: int = b", "a = UserError(b + 1, a)"])
def test_wording_and_types_are_left_alone(statement: str) -> None:
    assert changed(statement) == []


def test_methods_and_inner_functions_are_changed_and_modules_are_not() -> None:
    source = "X = 1\nclass A:\n    Y = 2\n    @property\n    def f(self):\n        def g(): return 3\n        return g"
    assert [(change.function, change.first_line, change.line) for change in list_changes(ast.parse(source))] == [
        ("A.f", 4, 6), ("A.f", 4, 6), ("A.f", 4, 7),
    ]  # fmt: skip


@pytest.mark.slow
def test_changes_that_no_test_notices_are_listed(tmp_path: Path) -> None:
    test = tmp_path / "test_half.py"
    test.write_text(
        "from nemotron.printable import count_of, escape\n"
        "def test_one(): assert count_of(1, 'file') == '1 file'\n"
        "def test_bell(): assert escape('\\a') == r'\\u0007'\n"
    )
    command = [sys.executable, "-m", "tools.mutants", "src/nemotron/printable.py", "--tests", str(test)]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "number == 1" in printed  # always true
    assert "escape" not in printed
    test.write_text("def test_wrong(): assert False\n")
    failed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (failed.returncode, "error: The tests fail without a change." in failed.stdout) == (1, True)
