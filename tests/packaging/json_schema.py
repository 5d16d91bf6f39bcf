"""The manifest's JSON Schema, made of its dataclasses: `python -m tests.packaging.json_schema` writes it."""

import json
import re
import types
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from signs_runtime.bundle.manifest import OLDEST_SCHEMA, SCHEMA, Manifest
from signs_runtime.bundle.strict_json import SINCE

FILE = Path(__file__).parents[2] / "docs/bundle.schema.json"
_SHA256 = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
# What the classes check beyond types, where a schema can tell it.
_FURTHER: dict[str, dict[str, Any]] = {
    "Manifest.schema": {"minimum": OLDEST_SCHEMA, "maximum": SCHEMA},
    "Manifest.labels": {"minItems": 2, "uniqueItems": True},
    "Manifest.variants": {"minItems": 1},
    "Manifest.unsure_below": {"maximum": 1},
    "Manifest.temperature": {"exclusiveMinimum": 0},
    "FileRecord.path": {"pattern": "^[A-Za-z0-9_][A-Za-z0-9._-]{0,199}$"},
    "FileRecord.sha256": _SHA256,
    "Golden.pictures": {"minimum": 1},
    "InputSpec.height": {"minimum": 1},
    "InputSpec.width": {"minimum": 1},
}


def make_schema() -> dict[str, Any]:  # Any: JSON
    """JSON Schema 2020-12 of manifest.json."""
    definitions: dict[str, Any] = {}
    _of(Manifest, definitions)
    whole = definitions.pop("Manifest")
    whole["properties"] |= {"seal": _SHA256, "run_seal": _SHA256}
    whole["required"] += ["seal", "run_seal"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "manifest.json of a signs-edge bundle",
        **whole,
        "$defs": dict(sorted(definitions.items())),
    }


def _of(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:  # Any: a type hint
    """The schema of a type hint, as `strict_json.from_json` follows it; dataclasses go into `definitions`."""
    origin, arguments = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        name = kind.__name__  # type: ignore[union-attr]  # a class, not an instance
        if name not in definitions:
            hints = get_type_hints(kind)
            definitions[name] = {
                "type": "object",
                "description": re.sub(r"\s+", " ", kind.__doc__ or ""),
                "properties": {
                    each.name: _of(hints[each.name], definitions) | _FURTHER.get(f"{name}.{each.name}", {})
                    for each in fields(kind)
                },
                "required": [each.name for each in fields(kind) if SINCE not in each.metadata],
                "additionalProperties": False,
            }
        return {"$ref": f"#/$defs/{name}"}
    if origin is tuple:
        return {"type": "array", "items": _of(arguments[0], definitions)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _of(arguments[1], definitions)}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (Union, types.UnionType):
        return {"anyOf": [_of(arguments[0], definitions), {"type": "null"}]}
    if kind in (int, float):
        return {"type": "integer" if kind is int else "number", "minimum": 0}
    return {"type": {bool: "boolean", str: "string"}[kind]}


if __name__ == "__main__":
    FILE.write_text(json.dumps(make_schema(), indent=1) + "\n", encoding="utf-8")
