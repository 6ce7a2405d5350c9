"""The files of golden sets: rows with an id, an unknown answer kept apart from 0, errors without content."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeguard_spark.errors import PolicyError, SourceError
from safeguard_spark.evaluation.set_files import read_rows
from safeguard_spark.evaluation.sets import FileFormat

pytestmark = pytest.mark.unit


def written(folder: Path, text: str, name: str = "rows") -> Path:
    file = folder / name
    data = text.encode("utf-8")
    file.write_bytes(gzip.compress(data, mtime=0) if name.endswith(".gz") else data)
    return file


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_an_absent_key_is_unknown_and_not_0(tmp_path: Path, name: str) -> None:
    text = '{"prompt": "a", "H": 0}\n\n{"prompt": "b\\nc", "S": 1, "H": 1}\n{"prompt": "\u2028", "S": 0}\n'
    assert read_rows(written(tmp_path, text, name), FileFormat.jsonl) == [
        {"_row": 1, "prompt": "a", "H": 0, "S": None},
        {"_row": 2, "prompt": "b\nc", "H": 1, "S": 1},
        {"_row": 3, "prompt": "\u2028", "H": None, "S": 0},
    ]


def test_csv_cells_are_texts_and_an_empty_one_is_unknown(tmp_path: Path) -> None:
    text = '\ufeff,kind,test_case,label_gold\r\n0,slur_h,"two\r\nlines, ""quoted""",hateful\r\n1,slur_nh,x,\r\n2\r\n'
    assert read_rows(written(tmp_path, text), FileFormat.csv) == [
        {"_row": 1, "_c0": "0", "kind": "slur_h", "test_case": 'two\r\nlines, "quoted"', "label_gold": "hateful"},
        {"_row": 2, "_c0": "1", "kind": "slur_nh", "test_case": "x", "label_gold": None},
        {"_row": 3, "_c0": "2", "kind": None, "test_case": None, "label_gold": None},
    ]  # fmt: skip


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.one_of(st.none(), st.integers(), st.text())), max_size=8))
def test_json_lines_come_back_as_they_were_written(rows: list[dict[str, Any]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        file = written(Path(folder), "\n".join(json.dumps(row) for row in rows))
        read = read_rows(file, FileFormat.jsonl)
    assert [row.pop("_row") for row in read] == list(range(1, len(rows) + 1))
    assert [{key: row[key] for key in row if row[key] is not None} for row in read] == [
        {key: row[key] for key in row if row[key] is not None} for row in rows
    ]


def test_a_parquet_file_is_numbered(tmp_path: Path) -> None:
    pq.write_table(pa.table({"prompt": ["a", "b"], "is_safe": [True, None]}), tmp_path / "rows.parquet")
    assert read_rows(tmp_path / "rows.parquet", FileFormat.parquet) == [
        {"_row": 1, "prompt": "a", "is_safe": True},
        {"_row": 2, "prompt": "b", "is_safe": None},
    ]


def test_cases_of_texts_and_conversations_are_one_set(tmp_path: Path) -> None:
    text = """
cases:
  - {id: offer, text: Replicas here, violation: true, category: counterfeit, rules: [M1]}
  - id: advice
    conversation: [{role: ana, text: Is it real?}, {role: ben, text: Ask for the receipt.}]
    violation: false
    category: none
"""
    offer, advice = read_rows(written(tmp_path, text, "cases.yaml"), FileFormat.cases)
    turns = [{"role": "user", "text": "Replicas here"}]
    assert offer == {
        "_row": 1, "id": "offer", "text": "Replicas here", "turns": turns, "violation": True,
        "category": "counterfeit", "rules": ["M1"],
    }  # fmt: skip
    assert [turn["role"] for turn in advice["turns"]] == ["ana", "ben"]
    assert (advice["text"], advice["violation"], advice["category"]) == (None, False, None)
    with pytest.raises(PolicyError, match="in line"):
        read_rows(written(tmp_path, "cases: [", "cases.yaml"), FileFormat.cases)


@pytest.mark.parametrize(
    "header",
    [
        "example,classification,Responses,Response Label",
        "Example Prompt,Prompt label,Example Generation,Generation Label",
    ],
)
def test_a_pack_has_two_items_in_a_row(tmp_path: Path, header: str) -> None:
    note = "These prompts are made up; see the label column.,,,"
    text = f"{note}\n{header}\nHow old?,A0,In most places 18.,A0\nGo!,A1,,\n,A1,x,A1\n"
    first, second, third = read_rows(written(tmp_path, text), FileFormat.pack)
    question, answer = {"role": "user", "text": "How old?"}, {"role": "assistant", "text": "In most places 18."}
    assert first == {"_row": 1, "id": "row-3", "part": "prompt", "turns": [question], "label": "A0"}
    assert second == {"_row": 2, "id": "row-3-response", "part": "response", "turns": [question, answer], "label": "A0"}
    assert (third["id"], third["label"], len(third["turns"])) == ("row-4", "A1", 1)


@pytest.mark.parametrize(
    ("file_format", "name", "data", "sentence"),
    [
        (FileFormat.csv, "a.csv", b"a,a\n1,2\n", "a.csv has the column a twice: rename one."),
        (FileFormat.csv, "a.csv", b"a,b\n1,2\n1,2,secret\n", "a.csv: row 2 has 3 cells, but the header has 2."),
        (FileFormat.csv, "a.csv", b"a\n\xff\n", "a.csv cannot be read as csv: it is not UTF-8 text."),
        (FileFormat.jsonl, "a.jsonl", b'{"a": 1}\nsecret\n', "a.jsonl: line 2 is not a JSON object."),
        (FileFormat.jsonl, "a.jsonl", b"[1]\n", "a.jsonl: line 1 is not a JSON object."),
        (FileFormat.jsonl, "a.jsonl.gz", b"{}", "a.jsonl.gz cannot be read as jsonl: Not a gzipped file (b'{}')."),
        (
            FileFormat.jsonl,
            "a.jsonl.gz",
            gzip.compress(b"{}", mtime=0)[:-9],
            "a.jsonl.gz cannot be read as jsonl: Compressed",
        ),
        (FileFormat.parquet, "a.parquet", b"secret", "a.parquet is not a Parquet file."),
        (
            FileFormat.pack,
            "a.csv",
            b"Hello,0,Put this label on it\nBye,1,x\n",
            "a.csv has no header with label columns in its first ten rows.",
        ),
        (FileFormat.pack, "a.csv", b"text,other\n", "a.csv has no header with label columns in its first ten rows."),
        (FileFormat.pack, "a.csv", b"a,a label,b,b label,c,c label\n", "a.csv has 3 label columns; a pack has one"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_sentence(
    tmp_path: Path, file_format: FileFormat, name: str, data: bytes, sentence: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(SourceError) as error:
        read_rows(tmp_path / name, file_format)
    assert str(error.value).removeprefix(f"{tmp_path}/").startswith(sentence)
    assert "secret" not in str(error.value)


def test_an_empty_file_has_no_rows(tmp_path: Path) -> None:
    assert read_rows(written(tmp_path, ""), FileFormat.csv) == read_rows(written(tmp_path, ""), FileFormat.jsonl) == []
