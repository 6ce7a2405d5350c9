"""Everything that imports pyspark or delta."""

from safeguard_spark.errors import ConfigError
from safeguard_spark.extras import require


def _refuse_what_cannot_work() -> None:
    """Raise ConfigError if a package that every executor needs is missing, or Spark is too old."""
    require("pyspark", "pandas", "pyarrow")
    from pyspark import __version__

    if int(__version__.partition(".")[0]) < 4:
        raise ConfigError(
            f"Spark {__version__} is too old. Use Spark 4.0 or newer, with the Delta Lake of its version."
        )


_refuse_what_cannot_work()
