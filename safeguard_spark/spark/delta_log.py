"""What a table's Delta log says: that its creation was interrupted, or that only its catalog may commit to it."""

from pyspark.sql import SparkSession

from safeguard_spark.errors import TableError
from safeguard_spark.spark.files import Files

LOG = "_delta_log"
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


def clear_unfinished(spark: SparkSession, folder: str) -> bool:
    """Delete a table's log that has no commit, because its driver died first; False if there is none such."""
    files = Files(spark, folder)
    if not files.exists(LOG) or any(name.endswith((".json", ".parquet")) for name in files.names(LOG)):
        return False
    files.delete(LOG)
    return True
