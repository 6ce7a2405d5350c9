"""A golden set: its manifest is read or refused with every problem where it is; it has a name, and a checked file."""

import hashlib
from pathlib import Path

import pytest

from safeguard_spark.errors import ConfigError, SourceError
from safeguard_spark.evaluation.sets import FileFormat, SetManifest, find_set, load_set, set_versions, verify_file

pytestmark = pytest.mark.unit

MANIFEST = """\
name: shouts
version: "0124"
licence: CC-BY-4.0
may_redistribute: true
location: ./shouts.csv
id_column: _row
text_column: text
mapping:
  hate: label = 'hateful'
  spam: is_spam
slices: [kind]
"""


def write_set(folder: Path, text: str = MANIFEST, name: str = "shouts", version: str = "0124") -> Path:
    file = folder / name / version / "set.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(text, encoding="utf-8")
    return file


def test_a_manifest_says_where_contents_and_answers_are(tmp_path: Path) -> None:
    golden_set = load_set(write_set(tmp_path))
    manifest = golden_set.manifest
    assert manifest.ref == "shouts@0124" and manifest.file_format is FileFormat.csv
    assert manifest.mapping == {"hate": "label = 'hateful'", "spam": "is_spam"} and manifest.slices == ("kind",)
    assert golden_set.location == str(tmp_path / "shouts/0124/shouts.csv")


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("catalog.gold.shouts", "catalog.gold.shouts"),
        ("shouts", "shouts"),
        ("s3a://bucket/shouts.csv", "s3a://bucket/shouts.csv"),
        ("/data/shouts", "/data/shouts"),
        ("./shouts", "{folder}/shouts"),
        ("../../shouts.parquet", "{root}/shouts.parquet"),
        ("shouts.parquet", "{folder}/shouts.parquet"),
        ("shouts.jsonl.gz", "{folder}/shouts.jsonl.gz"),
    ],
)
def test_a_location_is_a_table_a_url_or_a_path_from_the_manifest(tmp_path: Path, location: str, expected: str) -> None:
    file = write_set(tmp_path, MANIFEST.replace("./shouts.csv", location))
    golden_set = load_set(file)
    assert golden_set.location == expected.format(folder=file.parent, root=tmp_path)
    assert (golden_set.manifest.file_format is None) == (not location.endswith("jsonl.gz"))


def test_every_problem_is_reported_where_it_is_with_the_nearest_key(tmp_path: Path) -> None:
    text = MANIFEST.replace("location", "localtion").replace('"0124"', "0124").replace("licence: CC-BY-4.0\n", "")
    file = write_set(tmp_path, f"{text}name: again\n")
    with pytest.raises(ConfigError) as error:
        load_set(file)
    message = str(error.value)
    assert f"{file}:2:10: error[bad-value]: `version` must be a text, not the number 84\n2 | version: 0124\n" in message
    assert f"{file}:4:1: error[unknown-key]: there is no key `localtion` here\n4 | localtion: ./shouts.csv\n" in message
    assert "  | ^^^^^^^^^\n  = did you mean location?" in message
    assert "`licence` is missing" in message and "`location` is missing" in message
    assert f"{file}:11:1: error[duplicate-key]: `name` occurs twice" in message


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("text_column: text\n", "", "needs either text_column or conversation_column"),
        ("text_column: text\n", "text_column: a\nconversation_column: b\n", "needs either text_column or"),
        ("  hate: label = 'hateful'\n  spam: is_spam\n", "  {}\n", "`mapping` must not be empty"),
        ("is_spam", "1", "put it in quotes"),
        ("is_spam", "null", "`mapping.spam` must be a text, not empty"),
        ("name: shouts", "name: loud shouts", "letters, digits"),
        ("slices: [kind]", "sha256: ABC", "64 lower-case hexadecimal digits"),
        ("slices: [kind]", "pairs_with: a@b@c", "`pairs_with`"),
        ("slices: [kind]", "slices: [", "error[unreadable]"),
        ("slices: [kind]", "rules: {hates: rules}", "rules names hates, which mapping does not. Did you mean hate?"),
        ("slices: [kind]", "decided_under: {fraud: '1'}", "names fraud, which mapping does not. It has answers for"),
        (MANIFEST, "- a\n", "a manifest is a list of `key: value` lines"),
    ],
)
def test_a_manifest_that_would_measure_something_else_is_refused(
    tmp_path: Path, old: str, new: str, problem: str
) -> None:
    assert old in MANIFEST
    with pytest.raises(ConfigError) as error:
        load_set(write_set(tmp_path, MANIFEST.replace(old, new)))
    assert problem in str(error.value)


def test_a_manifest_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="it cannot be read: No such file"):
        load_set(tmp_path / "set.yaml")
    (tmp_path / "set.yaml").write_bytes(b"name: \xff\n")
    with pytest.raises(ConfigError, match=r":1:7: error\[unreadable\]: not UTF-8 text"):
        load_set(tmp_path / "set.yaml")


def test_the_digest_changes_with_what_is_measured_and_not_with_words_or_places(tmp_path: Path) -> None:
    manifest = load_set(write_set(tmp_path)).manifest

    def digest(**changes: object) -> str:
        return SetManifest.model_validate({**manifest.model_dump(), **changes}).digest

    same = {"location": "/elsewhere.csv", "description": "x", "licence": "MIT", "download": "x", "contamination": "x"}
    assert digest() == digest(**same) == manifest.digest
    other: list[dict[str, object]] = [
        {"mapping": {"hate": "label = 'offensive'", "spam": "is_spam"}}, {"filter": "kind = 'post'"}, {"split": "test"},
        {"slices": []}, {"text_column": "body"}, {"id_column": "id"}, {"version": "0125"}, {"sha256": "0" * 64},
    ]  # fmt: skip
    assert len({manifest.digest, *(digest(**changes) for changes in other)}) == 1 + len(other)


def test_a_set_is_found_by_name_version_or_file(tmp_path: Path) -> None:
    old = write_set(tmp_path, MANIFEST.replace("0124", "1.9"), version="1.9")
    new = write_set(tmp_path, MANIFEST.replace("0124", "1.10"), version="1.10")
    write_set(tmp_path, MANIFEST.replace("shouts", "murmurs"), name="murmurs")
    assert set_versions(tmp_path) == {"murmurs": ["0124"], "shouts": ["1.9", "1.10"]}
    assert find_set("shouts", tmp_path).path == new
    assert find_set("shouts@1.9", tmp_path).path == find_set(str(old), tmp_path / "elsewhere").path == old


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("shout", "There is no set shout in {folder}. Did you mean shouts?"),
        ("zebra", "There is no set zebra in {folder}. Sets: moved, shouts."),
        ("shouts@0125", "Set shouts has no version 0125 in {folder}. Versions: 0124."),
        ("sets/x.yaml", "sets/x.yaml does not exist. Name a manifest, or a set as name@version."),
        ("moved", "{folder}/moved/1/set.yaml is shouts@0124: make its name and version equal to its folders."),
    ],
)
def test_a_set_that_does_not_exist_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    write_set(tmp_path)
    write_set(tmp_path, name="moved", version="1")
    with pytest.raises(ConfigError) as error:
        find_set(text, tmp_path)
    assert str(error.value) == sentence.format(folder=tmp_path)


def test_the_file_of_a_set_is_checked_and_a_missing_one_says_what_to_download(tmp_path: Path) -> None:
    data = b"text,label,is_spam,kind\n"
    digest = hashlib.sha256(data).hexdigest()
    text = f"{MANIFEST}sha256: {digest}\ndownload: The repository of the set, file shouts.csv.\n"
    golden_set = load_set(write_set(tmp_path, text))
    path = Path(golden_set.location)
    with pytest.raises(SourceError) as missing:
        golden_set.data_file()
    sentence = f"The data of shouts@0124 is not in {path}. To get it: The repository of the set, file shouts.csv."
    assert str(missing.value) == sentence
    path.write_bytes(data)
    assert golden_set.data_file() == path and verify_file(golden_set.manifest, path) == digest
    path.write_bytes(data + b"one more,hateful,1,post\n")
    with pytest.raises(SourceError, match=rf"has the SHA-256 [0-9a-f]+, but shouts@0124 is the file with {digest}"):
        golden_set.data_file()
    with pytest.raises(SourceError, match="cannot be read: Is a directory"):
        verify_file(golden_set.manifest, tmp_path)
    unchecked = golden_set.manifest.model_copy(update={"sha256": None})
    assert verify_file(unchecked, path) == hashlib.sha256(path.read_bytes()).hexdigest()
