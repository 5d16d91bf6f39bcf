"""What README and docs/ say exists: their links, their commands and options, the public names."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import signs_runtime
from signs_export.commands.export import build_and_export
from signs_runtime.commands.signs import signs

ROOT = Path(__file__).parents[2]
PAGES = [
    *sorted(ROOT.glob("*.md")),
    ROOT / "runtime/README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]


def commands(page: str) -> Iterator[list[str]]:
    """Each line of code that calls one of our commands, as words."""
    code = re.sub(r"\\\n\s*", "", page)
    for found in re.finditer(r"^(?: {4,}|.*- run: )((?:signs|build-and-export) .*)$", code, re.MULTILINE):
        yield shlex.split(found[1], comments=True)
    for found in re.finditer(r"`((?:signs|build-and-export) [a-z-]+ [^`]*)`", page):
        yield shlex.split(found[1].replace("\n", " "))


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" not in target and not target.startswith("#"):
            base = ROOT / "runtime" if page.name == "runtime.md" else page.parent
            assert (base / target.split("#")[0]).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_has_the_options_that_it_is_shown_with(page: Path) -> None:
    for words in commands(page.read_text(encoding="utf-8")):
        command: click.Command = build_and_export if words[0] == "build-and-export" else signs
        rest = words[1:]
        while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
            name = rest.pop(0).rstrip(",")
            found = command.get_command(click.Context(command), name)
            assert found is not None, words
            command = found
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        shown = {word.split("=")[0] for word in rest if word.startswith("-")}
        assert shown <= known | {"--help", "-h"}, words


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 100


def test_the_reference_has_every_public_name() -> None:
    page = (ROOT / "docs/reference/python.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"auto(?:class|function|exception):: (\w+)", page))
    assert shown == set(signs_runtime.__all__) - {"__version__"}
