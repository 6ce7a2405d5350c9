"""The schemas for editors accept every file that ships and that the models accept, and mark what they refuse."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args

import pytest
import yaml
from jsonschema import Draft7Validator
from pydantic import BaseModel, TypeAdapter, ValidationError

from safeguard_spark.authoring.cases import Cases
from safeguard_spark.authoring.check import check_file
from safeguard_spark.authoring.diagnostics import Level
from safeguard_spark.config.model import RunConfig
from safeguard_spark.evaluation.sets import SetManifest
from safeguard_spark.policy.document import Policy, split_document
from tests.unit.commands import Safeguard
from tests.unit.samples import CASES, POLICY, edited, write_policy
from tools.rooms import ROOT
from tools.schemas import FOLDER, schema_files

pytestmark = pytest.mark.unit
LINE = re.compile(r"^# yaml-language-server: \$schema=(?P<path>\S+)$", re.MULTILINE)
SHIPPED = sorted([*ROOT.glob("conf/*.yaml"), *ROOT.glob("sets/*/*/set.yaml")])


def problems(name: str, value: Any) -> list[str]:
    schema = json.loads((ROOT / FOLDER / f"{name}.schema.json").read_text(encoding="utf-8"))
    Draft7Validator.check_schema(schema)
    return [error.message for error in Draft7Validator(schema).iter_errors(json.loads(json.dumps(value)))]


def front_matter(text: str) -> Any:
    return yaml.safe_load(split_document(text).front_matter)


def test_the_schemas_are_what_the_models_say() -> None:
    assert {name: (ROOT / name).read_text(encoding="utf-8") for name in schema_files()} == schema_files()


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_shipped_file_names_its_schema_and_follows_it(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    line = LINE.search(text)
    assert line is not None
    schema = (file.parent / line["path"]).resolve()
    assert schema.parent == ROOT / FOLDER
    assert problems(schema.name.removesuffix(".schema.json"), yaml.safe_load(text)) == []


def test_shipped_policies_and_cases_follow_their_schemas() -> None:
    for file in sorted(ROOT.glob("policies/*/*/policy.md")):
        assert problems("policy", front_matter(file.read_text(encoding="utf-8"))) == [], file
        assert problems("cases", yaml.safe_load(file.with_name("cases.yaml").read_text(encoding="utf-8"))) == [], file


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("severity: high", "severity: grave"), "'grave' is not one of"),
        (("output: full", "ouput: full"), "'ouput' was unexpected"),
        (("version: 1.0.0\n", ""), "'version' is a required property"),
        (("effort: low", "effort: lots"), "is not valid under any of the given schemas"),
        (("labeler:", "body: x\nlabeler:"), "'body' was unexpected"),
        (("labeler:", "gate: {min_recall: 7}\nlabeler:"), "is not valid under any of the given schemas"),
        (("labeler:", "gate:\nlabeler:"), "None is not of type 'object'"),
        (
            ("labeler:", "gate: {sets: [{set: shop, slice: a=b}]}\nlabeler:"),
            "is not valid under any of the given schemas",
        ),
        (("labeler:", "allow: [vague-wrod]\nlabeler:"), "'vague-wrod' is not one of"),
        (("labeler:", "allow: [duplicate-key]\nlabeler:"), "'duplicate-key' is not one of"),
        (("labeler:", "links: {Wiki: 7}\nlabeler:"), "7 is not of type 'string'"),
        (("labeler:", "allowed: ['']\nlabeler:"), "does not match"),
    ],
)
def test_a_mistake_in_front_matter_is_marked_by_the_schema_and_by_check(
    tmp_path: Path, change: tuple[str, str], problem: str
) -> None:
    assert problems("policy", front_matter(POLICY)) == []
    text = edited(POLICY, change)
    assert any(problem in message for message in problems("policy", front_matter(text)))
    assert any(d.level is Level.error for d in check_file(write_policy(tmp_path, text)))


@pytest.mark.parametrize(
    "change",
    [
        ("violation: false", "violation: maybe"),
        ("violation: false", "violation: 'false'"),
        ("violation: false", "violation: 0"),
        ("    text: My old watch, with its box\n", ""),
        ("    text: My old", "    conversation: [{role: user, text: a}]\n    text: My old"),
        ("category: stolen", "categry: stolen"),
    ],
)
def test_a_mistake_in_cases_is_marked(change: tuple[str, str]) -> None:
    assert problems("cases", yaml.safe_load(CASES)) == []
    assert problems("cases", yaml.safe_load(edited(CASES, change)))


@pytest.mark.parametrize(
    ("text", "is_right"),
    [
        ("policy: spam@1.0.0\nengine: {model: a/b}\n", True),
        ("policy: [spam@1.0.0, hate@active]\nrun:\nlabeler: {effort: none, second_look: structured}\n", True),
        ("engine: {kind: vllm, model: a, env: {A: 4, B: true}, args: {max_num_seqs: 8}}\n", True),
        ("spark: {master: 'local[2]', conf: {spark.ui.enabled: false}}\n", True),
        ("engine: {kind: scripted, url: 'http://a'}\n", False),
        ("run: {chunk_row: 5}\n", False),
        ("labeler: {temperature: 9}\n", False),
        ("source: {format: excel}\n", False),
    ],
)
def test_a_configuration_is_marked_as_the_command_line_reads_it(text: str, is_right: bool) -> None:
    assert (problems("configuration", yaml.safe_load(text)) == []) is is_right


def test_new_policies_name_the_schemas_that_are_written_next_to_them(safeguard: Safeguard) -> None:
    safeguard("new", "gifts")
    for file, name in (("policy.md", "policy"), ("cases.yaml", "cases")):
        path = Path("policies/gifts/1.0.0", file)
        text = path.read_text(encoding="utf-8")
        line = LINE.search(text)
        assert line is not None
        assert json.loads((path.parent / line["path"]).read_text()) == json.loads(
            schema_files()[f"{FOLDER}/{name}.schema.json"]
        )
        value = front_matter(text) if file == "policy.md" else yaml.safe_load(text)
        assert problems(name, value) == []
    safeguard("new", "gifts@1.1.0")
    assert len(LINE.findall(Path("policies/gifts/1.1.0/cases.yaml").read_text())) == 1
    assert "wrong-folder" not in safeguard("check").out


def models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """A model, and the models of its fields."""
    yield model
    pending = [field.annotation for field in model.model_fields.values()]
    while pending:
        kind = pending.pop()
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from models(kind)
        pending += get_args(kind)


# Names that `--set` may read as numbers; the code takes those as texts.
LOOSE = ("SourceConfig.name", "ScreenConfig.id")
FIELDS = {
    f"{model.__name__}.{name}": (model, name, field)
    for root in (Policy, Cases, SetManifest, RunConfig)
    for model in models(root)
    for name, field in model.model_fields.items()
    if f"{model.__name__}.{name}" not in LOOSE
}
VALUES = [True, False, 0, 1, 70, 0.5, -1, "1", "0.5", "true", "False", "yes", "on", "x", "", "review", None, [], {}]
PLAIN = {"boolean", "integer", "number", "string", "null"}


@pytest.mark.parametrize("key", FIELDS)
def test_a_plain_value_is_accepted_by_its_model_if_and_only_if_the_schema_accepts_it(key: str) -> None:
    model, name, field = FIELDS[key]
    schema = model.model_json_schema()
    value_schema = schema["properties"][name]
    options = value_schema.get("anyOf", [value_schema])
    if not all(option.get("type") in PLAIN for option in options):
        return  # not of plain values
    validator, adapter = Draft7Validator(value_schema), TypeAdapter(Annotated[field.annotation, field])
    for value in VALUES:
        try:
            adapter.validate_python(value)
            is_accepted = True
        except ValidationError:
            is_accepted = False
        assert is_accepted == validator.is_valid(value), value
