"""What the server says about itself: OpenAPI for machines, and a page for people."""

from typing import Any

_ERRORS = {
    "400": "The picture or the request cannot be read.",
    "404": "There is no such model.",
    "413": "The body is too large.",
    "429": "Too many requests are waiting. Try again later.",
    "503": "The bundle is not proved yet.",
    "504": "The answer took too long.",
}


def openapi(name: str) -> dict[str, Any]:  # Any: JSON
    """The OpenAPI 3.1 description of a server whose model has this name."""
    errors = {status: _answer("Error", says) for status, says in _ERRORS.items()}
    described = {"200": {"description": "OK"}}
    file = {"schema": {"type": "string", "format": "binary"}}
    form = {"schema": {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}}}
    predict = {
        "summary": "Label a picture.",
        "parameters": [
            {"name": "top_k", "in": "query", "schema": {"type": "integer", "minimum": 1, "default": 1}},
        ],
        "requestBody": {"required": True, "content": {"image/*": file, "multipart/form-data": form}},
        "responses": {"200": _answer("Prediction"), **errors},
    }
    infer = {
        "summary": "Label images or picture files: the Open Inference Protocol, version 2.",
        "requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}},
        "responses": {"200": _answer("Inference"), **errors},
    }
    asked = {
        "/v2": "Describe the server.",
        "/v2/health/live": "Tell whether the server runs.",
        "/v2/health/ready": "Tell whether the bundle is proved and answers.",
        f"/v2/models/{name}": "Describe the model.",
        f"/v2/models/{name}/ready": "Tell whether the model answers.",
        "/metrics": "Metrics for Prometheus.",
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": f"signs-edge: {name}", "version": "2"},
        "paths": {
            "/predict": {"post": predict},
            f"/v2/models/{name}/infer": {"post": infer},
            **{path: {"get": {"summary": says, "responses": described}} for path, says in asked.items()},
        },
        "components": {"schemas": _SCHEMAS},
    }


def _answer(name: str, says: str = "The answer.") -> dict[str, Any]:  # Any: JSON
    schema = {"$ref": f"#/components/schemas/{name}"}
    return {"description": says, "content": {"application/json": {"schema": schema}}}


_LABEL = {"label": {"type": "string"}, "probability": {"type": "number", "minimum": 0, "maximum": 1}}
_SCHEMAS = {
    "Error": {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}},
    "Prediction": {
        "type": "object",
        "properties": {
            **_LABEL,
            "found": {"type": "array", "items": {"type": "string"}, "description": "All that reach their thresholds."},
            "top": {"type": "array", "items": {"type": "object", "properties": _LABEL}},
            "model": {"type": "string"},
            "version": {"type": "string", "description": "The first characters of the bundle's digest."},
        },
    },
    "Inference": {
        "type": "object",
        "properties": {
            "model_name": {"type": "string"},
            "model_version": {"type": "string"},
            "outputs": {"type": "array", "items": {"type": "object"}},
        },
    },
}

MANUAL = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>signs-edge</title>
<style>
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 44rem; margin: 2rem auto; padding: 0 1rem; }
code, pre { font-family: ui-monospace, monospace; } pre { overflow-x: auto; padding: .5rem; border: 1px solid #8888; }
</style>
<h1>A picture classifier</h1>
<p>Send a picture's file, and get its label:</p>
<pre>curl --data-binary @hand.jpg '<span class="here"></span>/predict?top_k=3'</pre>
<p>Clients of the Open Inference Protocol, version 2, send pixels as the input <code>image</code>, or files as
<code>picture</code>. The model's address is in <a href="/openapi.json">/openapi.json</a>.</p>
<ul>
<li><a href="/v2/health/ready">/v2/health/ready</a>: whether the bundle is proved and answers</li>
<li><a href="/metrics">/metrics</a>: metrics for Prometheus</li>
<li><a href="/openapi.json">/openapi.json</a>: the addresses, for machines</li>
</ul>
<script>for (const each of document.querySelectorAll(".here")) each.textContent = location.origin;</script>
</html>
"""
