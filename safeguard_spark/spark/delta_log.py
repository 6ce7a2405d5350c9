"""What a table's Delta log says before it can be read: that its creation was interrupted, or that its catalog owns it."""

from collections.abc import Container

from pyspark.sql import SparkSession

from safeguard_spark.errors import TableError
from safeguard_spark.spark.files import Files

LOG = "_delta_log"
# What Delta says of a catalog-managed table that is named by its path, and by its name in another catalog.
CATALOG_ALONE = ("DELTA_PATH_BASED_ACCESS_TO_CATALOG_MANAGED", "Couldn't locate commit coordinator")
CATALOG_MANAGED = ("delta.feature.catalogManaged", "delta.feature.catalogOwned-preview")


def refuse_catalog_managed(table: str, properties: Container[str] = (), error: Exception | None = None) -> None:
    """Raise TableError if a table's properties, or the error of reading it, say that only its catalog may commit."""
    refused = error is not None and any(refusal in str(error) for refusal in CATALOG_ALONE)
    if refused or any(name in properties for name in CATALOG_MANAGED):
        raise TableError(
            f"{table} is a catalog-managed table, which cannot be read by its path, as ours are. Name another "
            "--output: a schema whose tables are not catalog-managed, or a folder."
        ) from None


def clear_unfinished(spark: SparkSession, folder: str) -> bool:
    """Delete a table's log that has no commit, because its driver died first; False if there is none such."""
    files = Files(spark, folder)
    if not files.exists(LOG) or any(name.endswith((".json", ".parquet")) for name in files.names(LOG)):
        return False
    files.delete(LOG)
    return True
