"""Small files on each kind of file system: what a reader sees while they are written."""

import threading
from pathlib import Path
from typing import Any

import pytest

from safeguard_spark.spark.files import Files
from safeguard_spark.spark.label.job import label_table
from tests.build import policy
from tests.spark.lake import Lake

pytestmark = pytest.mark.spark
OLD, NEW = '{"failed": false}', '{"failed": true}'


def test_a_reader_finds_the_old_or_the_new_text_at_any_moment(lake: Lake, tmp_path: Path) -> None:
    files, file, ended = Files(lake.spark, str(tmp_path)), tmp_path / "run" / "manifest.json", threading.Event()
    files.write_text(OLD, "run", file.name)
    seen = set[str]()

    def read() -> None:
        while not ended.is_set():
            seen.add(file.read_text() if file.exists() else "nothing")

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(100):
        files.write_text(NEW, "run", file.name)
        files.write_text(OLD, "run", file.name)
    ended.set()
    reader.join()
    assert seen == {OLD, NEW}
    assert [path.name for path in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize("scheme", ["viewfs", "s3a"])  # one that renames, and one that shows a file when it is complete
def test_a_file_is_replaced_on_other_file_systems_too(lake: Lake, tmp_path: Path, scheme: str) -> None:
    settings = {
        "fs.s3a.impl": "org.apache.hadoop.fs.viewfs.ViewFileSystemOverloadScheme",
        "fs.viewfs.overload.scheme.target.file.impl": "org.apache.hadoop.fs.LocalFileSystem",
        "fs.viewfs.mounttable.mounted.link./folder": tmp_path.as_uri(),
    }
    for key, value in settings.items():
        lake.spark.conf.set(key, value)
    try:
        files = Files(lake.spark, f"{scheme}://mounted/folder")
        for text in (OLD, NEW, OLD):
            files.write_text(text, "run", "manifest.json")
            assert (tmp_path / "run" / "manifest.json").read_text() == files.read_text("run", "manifest.json") == text
        assert files.names("run") == ["manifest.json"]
    finally:
        for key in settings:
            lake.spark.conf.unset(key)


def test_a_local_folder_keeps_its_scheme_where_another_file_system_is_the_default(spark: Any, lake: Lake) -> None:
    lake.write([("p1", "a table"), ("p2", "a replica")])
    spark.conf.set("fs.defaultFS", "hdfs://nowhere:9000")
    try:
        assert Files(spark, f"file:{lake.tables}").plain() == f"file://{lake.tables}"
        places = {"source": {"location": f"file:{lake.posts}", "text_column": "body"}, "output": f"file:{lake.tables}"}
        result = label_table(spark, lake.config(**places), [policy()], show=False)
        assert (result.written, result.tables["labels"]) == (2, f"file://{lake.tables}/labels")
    finally:
        spark.conf.unset("fs.defaultFS")
    assert Files(spark, f"file:{lake.tables}").plain() == str(lake.tables)
