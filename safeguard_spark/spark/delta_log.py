"""What a table's Delta log says: that its creation was interrupted, or that only its catalog may commit to it."""

import time

from pyspark.errors import AnalysisException
from pyspark.sql import SparkSession

from safeguard_spark.errors import TableError
from safeguard_spark.spark.files import Files

LOG = "_delta_log"
FIRST = f"{0:020}.json"
REGISTERED_S = 60.0  # by then a driver that lives has put a table that it created into the catalog
# What Delta says of a catalog-managed table that is named by its path, and by its name in another catalog.
CATALOG_ALONE = ("DELTA_PATH_BASED_ACCESS_TO_CATALOG_MANAGED", "Couldn't locate commit coordinator")
CATALOG_MANAGED = ("delta.feature.catalogManaged", "delta.feature.catalogOwned-preview")


def refuse_catalog_managed(table: str, error: Exception) -> None:
    """Raise TableError if the error of reading a table says that only its catalog may commit to it."""
    if any(refusal in str(error) for refusal in CATALOG_ALONE):
        raise _catalog_managed(table) from None


def table_properties(spark: SparkSession, table: str, sql: str) -> dict[str, str]:
    """The properties of a table, by its name in SQL. Raises TableError if only its catalog may commit to it."""
    properties = {row["key"]: row["value"] for row in spark.sql(f"SHOW TBLPROPERTIES {sql}").collect()}
    if any(name in properties for name in CATALOG_MANAGED):
        raise _catalog_managed(table)
    return properties


def _catalog_managed(table: str) -> TableError:
    return TableError(
        f"{table} is a catalog-managed table, which cannot be read by its path, as ours are. Name another --output: a "
        "schema whose tables are not catalog-managed, or a folder."
    )


def new_folder(spark: SparkSession, schema: str, table: str) -> str | None:
    """Where a schema, by its name in SQL, creates a table; None if it does not say."""
    try:
        location = spark.sql(f"DESCRIBE SCHEMA EXTENDED {schema}").where("info_name = 'Location'").first()
    except AnalysisException:  # there is no such schema
        return None
    return f"{location['info_value']}/{table}" if location and location["info_value"] else None


def clear_unfinished(spark: SparkSession, folder: str | None, *, in_catalog: bool) -> bool:
    """Delete the log of a table that could not be created because its driver died first; False if there is none such.

    It has no commit; or, if a catalog is to have the table, the first commit alone, not a new one, and no file of rows.
    """
    files = Files(spark, folder) if folder else None
    if files is None or not files.exists(LOG):
        return False
    commits = [name for name in files.names(LOG) if name.endswith((".json", ".parquet"))]
    age_s = time.time() - (files.modified(LOG, FIRST) or 0.0)
    is_unregistered = in_catalog and commits == [FIRST] and files.names() == [LOG] and age_s > REGISTERED_S
    if commits and not is_unregistered:
        return False
    files.delete(LOG)
    return True
