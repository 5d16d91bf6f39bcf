"""docs/bundle.schema.json is what the dataclasses read: it takes stored bundles, and refuses what they refuse."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from .json_schema import FILE, make_schema

STORED = Path(__file__).parents[1] / "runtime/bundle/stored"
SCHEMA = json.loads(FILE.read_text(encoding="utf-8"))
Change = Callable[[dict[str, Any]], object]  # Any: JSON


def test_the_page_has_todays_schema() -> None:
    assert make_schema() == SCHEMA, "python -m tests.packaging.json_schema writes it"
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("folder", sorted(STORED.iterdir()), ids=lambda path: path.name)
def test_it_takes_a_stored_bundle_of_each_schema(folder: Path) -> None:
    jsonschema.validate(json.loads((folder / "manifest.json").read_text(encoding="utf-8")), SCHEMA)


HOSTILE: dict[str, Change] = {
    "no seal": lambda each: each.pop("seal"),
    "another schema": lambda each: each.update(schema=99),
    "a field too many": lambda each: each.update(more=1),
    "a field too few": lambda each: each["golden"].pop("pictures"),
    "one label": lambda each: each.update(labels=["0"]),
    "a label twice": lambda each: each.update(labels=["0", "0"]),
    "no variant": lambda each: each.update(variants=[]),
    "a path out of the folder": lambda each: each["variants"][0]["file"].update(path="../model.onnx"),
    "a digest in capitals": lambda each: each["golden"]["file"].update(sha256="A" * 64),
    "a negative size": lambda each: each["golden"]["file"].update(bytes=-1),
    "a size in words": lambda each: each["golden"]["file"].update(bytes="1"),
    "an unknown filter": lambda each: each["input"].update(resize="magic"),
    "no height": lambda each: each["input"].update(height=0),
    "no tolerance": lambda each: each["variants"][0].update(tolerance=None),
    "a list in place of an object": lambda each: each.update(provenance=[]),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_it_refuses_what_the_runtime_refuses(change: Change) -> None:
    manifest = json.loads((STORED / "schema6/manifest.json").read_text(encoding="utf-8"))
    changed = copy.deepcopy(manifest)
    change(changed)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(changed, SCHEMA)
