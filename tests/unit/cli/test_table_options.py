"""What the options of the commands on tables do to the configuration."""

from pathlib import Path

import pytest

from safeguard_spark.cli.table_options import SourceOptions, load_options

pytestmark = pytest.mark.unit


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "conf.yaml").write_text(
        "engine: {kind: scripted}\noutput: there\nsource: {location: a, id_column: id, text_column: body}\n"
    )
    return tmp_path / "conf.yaml"


def test_options_go_over_the_file_and_what_is_not_given_leaves_it(file: Path) -> None:
    plain = load_options(file, None, None)
    assert (plain.output, plain.source.location, plain.source.text_column) == ("there", "a", "body")
    chosen = load_options(
        file, ["run.chunk_rows=7"], "here", SourceOptions("b", "key"), {"source.limit": 3, "policy": None}
    )
    assert (chosen.output, chosen.source.location, chosen.source.id_column) == ("here", "b", "key")
    assert (chosen.source.text_column, chosen.source.limit, chosen.run.chunk_rows) == ("body", 3, 7)


def test_one_content_column_takes_the_place_of_the_other(file: Path) -> None:
    talks = load_options(file, None, None, SourceOptions(conversation_column="turns")).source
    assert (talks.text_column, talks.conversation_column) == (None, "turns")
    texts = load_options(file, ["source.conversation_column=turns"], None, SourceOptions(text_column="words")).source
    assert (texts.text_column, texts.conversation_column) == ("words", None)
