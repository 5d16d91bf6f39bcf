"""No message of the three packages is longer than three lines of a terminal, but for the lists behind some."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LONGEST = 3 * 100  # characters
FILLED_IN = 12  # characters of a value in it
MODULES = sorted(
    path.relative_to(ROOT)
    for package in ("runtime/signs_runtime", "builder/signs_builder", "export/signs_export")
    for path in (ROOT / package).rglob("*.py")
    if "templates" not in path.parts
)


def texts(tree: ast.AST) -> Iterator[str]:
    """The strings of a module, with values filled in, but for its docstrings and the help texts, which are wrapped."""
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            skipped |= {node.value}
        elif isinstance(node, ast.keyword) and node.arg == "help":
            skipped |= set(ast.walk(node.value))
        elif isinstance(node, ast.JoinedStr):
            skipped |= {each for each in ast.walk(node) if each is not node}
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.JoinedStr):
            parts = (each.value if isinstance(each, ast.Constant) else "x" * FILLED_IN for each in node.values)
            yield "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_no_message_is_longer_than_three_lines(module: Path) -> None:
    said = texts(ast.parse((ROOT / module).read_text(encoding="utf-8")))
    long = [text for text in said if " " in text and max(map(len, text.splitlines()), default=0) > LONGEST]
    assert not long


def test_a_long_message_is_found() -> None:
    tree = ast.parse(f'"""{"doc " * 100}"""\nraise ValueError(f"{{x}} {"word " * 58}")\noption(help="{"help " * 90}")')
    assert [len(each) for each in texts(tree) if len(each) > LONGEST] == [FILLED_IN + 1 + 5 * 58]
