"""A table whose commits only its catalog orders: no program may open it by its path, and ours are read so."""

import json
import shutil
from pathlib import Path

import pytest

from safeguard_spark.errors import SourceError, TableError
from safeguard_spark.spark.tables import Tables
from tests.build import posts
from tests.spark.lake import Lake

pytestmark = pytest.mark.spark


def give_to_catalog(table: Path) -> None:
    """Make a Delta table catalog-managed, as a catalog that supports it would have created it."""
    log = table / "_delta_log"
    for checksum in log.glob("*.crc"):
        checksum.unlink()
    first = log / f"{0:020}.json"
    lines = [json.loads(line) for line in first.read_text().splitlines()]
    features = ["catalogManaged", "inCommitTimestamp", "vacuumProtocolCheck", "appendOnly", "invariants"]
    for line in lines:
        if "protocol" in line:
            readers = ["catalogManaged", "vacuumProtocolCheck"]
            protocol = {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": readers}
            line["protocol"] = {**protocol, "writerFeatures": [*features, "checkConstraints"]}
        if "metaData" in line:
            line["metaData"]["configuration"]["delta.enableInCommitTimestamps"] = "true"
        if "commitInfo" in line:
            line["commitInfo"] = {"inCommitTimestamp": line["commitInfo"]["timestamp"], **line["commitInfo"]}
    first.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_as_a_source_it_must_be_named(lake: Lake, tmp_path: Path) -> None:
    lake.write(posts(3))
    managed = tmp_path / "managed"
    shutil.copytree(lake.posts, managed)
    give_to_catalog(managed)
    with pytest.raises(SourceError, match=r"catalog-managed table.* Name it: CATALOG\.SCHEMA\.TABLE\.$"):
        lake.label(source={"location": str(managed)})


def test_as_an_output_it_is_refused_by_path_and_by_name(lake: Lake, tmp_path: Path) -> None:
    output = tmp_path / "managed"
    lake.create()
    shutil.copytree(lake.tables, output)
    give_to_catalog(output / "labels")
    with pytest.raises(TableError, match=r"labels is a catalog-managed table.*Name another --output"):
        Tables(lake.spark, str(output)).create()

    lake.spark.sql("CREATE SCHEMA managed")
    try:
        Tables(lake.spark, "managed").create()
        folder = Path(Tables(lake.spark, "managed").sibling_folder("labels").removeprefix("file:"))
        give_to_catalog(folder)
        lake.spark._jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()  # type: ignore[union-attr]
        with pytest.raises(SourceError, match=r"managed by another catalog.* Name it: CATALOG\.SCHEMA\.TABLE\.$"):
            lake.label(source={"location": "managed.labels"})
        with pytest.raises(TableError, match=r"labels is a catalog-managed table.*Name another --output"):
            Tables(lake.spark, "managed").create()
    finally:
        lake.spark.sql("DROP SCHEMA managed CASCADE")
