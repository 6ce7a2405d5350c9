"""Everything that imports pyspark or delta."""
