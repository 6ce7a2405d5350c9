"""The JSON schemas of the files that people write, made from their models: for editors, which complete and check."""

import json
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

from safeguard_spark.authoring.cases import Cases
from safeguard_spark.authoring.diagnostics import CHECKS, Level
from safeguard_spark.config.model import RunConfig
from safeguard_spark.evaluation.sets import SetManifest
from safeguard_spark.policy.document import Policy, SetGate

FOLDER = "safeguard_spark/schemas"
DRAFT = "http://json-schema.org/draft-07/schema#"  # what editors' YAML support reads
LOOSE_TEXT = ["string", "number", "boolean"]  # values of other programs' settings, which we pass on as texts


def schema_files() -> dict[str, str]:
    """The text of every schema, by its path in the repository."""
    models: dict[str, tuple[type[BaseModel], Callable[[dict[str, Any]], None]]] = {
        "policy": (Policy, _without_body),
        "cases": (Cases, _one_content),
        "set": (SetManifest, lambda _: None),
        "configuration": (RunConfig, _one_policy),
    }
    files = {}
    for name, (model, adapt) in models.items():
        schema = model.model_json_schema()
        adapt(schema)
        _one_line(schema)
        schema.pop("description", None)  # the docstring of a model is for programmers
        text = json.dumps({"$schema": DRAFT, **schema, "title": f"safeguard-spark {name}"}, indent=1)
        files[f"{FOLDER}/{name}.schema.json"] = text + "\n"
    return files


def _without_body(schema: dict[str, Any]) -> None:
    """The body of a policy is the text below the front matter, and no key of it. Only warnings may be allowed."""
    del schema["properties"]["body"]
    schema["required"].remove("body")
    schema["properties"]["allow"]["items"]["enum"] = [c for c, check in CHECKS.items() if check.level is Level.warning]
    _require_bound(schema)


def _require_bound(schema: dict[str, Any]) -> None:
    """A line of a gate on a golden set requires something."""
    bounds = [key for key in SetGate.model_fields if key.startswith(("min_", "max_"))]
    schema["$defs"]["SetGate"]["anyOf"] = [{"required": [key]} for key in bounds]


def _one_content(schema: dict[str, Any]) -> None:
    schema["$defs"]["Case"]["oneOf"] = [{"required": ["text"]}, {"required": ["conversation"]}]


def _one_policy(schema: dict[str, Any]) -> None:
    """A single policy needs no brackets; the engine's kind has a default."""
    policy = schema["properties"]["policy"]
    schema["properties"]["policy"] = {
        "anyOf": [{"type": "string"}, {"type": "array", "items": policy.pop("items")}],
        **{key: value for key, value in policy.items() if key != "type"},
    }
    engine = schema["properties"]["engine"]
    engine["anyOf"] = engine.pop("oneOf")
    del engine["discriminator"]
    _require_bound(schema)
    _loosen(schema)
    schema["required"] = []  # the command line and the environment may give every key


def _one_line(value: Any) -> None:
    """Descriptions without the line ends of the docstrings that they come from."""
    if isinstance(value, list):
        for inner in value:
            _one_line(inner)
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "description" and isinstance(inner, str):
                value[key] = " ".join(inner.split())
            _one_line(inner)


def _loosen(value: Any) -> None:
    """What a configuration accepts beyond its types: numbers where texts are passed on, and sections without keys."""
    if isinstance(value, list):
        for inner in value:
            _loosen(inner)
    if not isinstance(value, dict):
        return
    if value.get("additionalProperties") == {"type": "string"}:
        value["additionalProperties"] = {"type": LOOSE_TEXT}
    for name, inner in value.get("properties", {}).items():
        if set(inner) <= {"$ref", "default"} and "$ref" in inner and isinstance(inner.get("default"), dict):
            value["properties"][name] = {"anyOf": [{"$ref": inner["$ref"]}, {"type": "null"}]}
    for inner in value.values():
        _loosen(inner)
